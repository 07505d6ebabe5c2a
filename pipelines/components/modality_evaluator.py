"""Scores the network of one modality, and blesses the network or not.

TensorFlow Model Analysis scores examples, which are windows of slices here. The relevant scores are those of whole
patients on their native grids: surface distances, lesions, empty masks. The component therefore uses the evaluation of
this package.
"""

import pathlib

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation

from pipelines import acceptance, study_flags
from pipelines.components import folders
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import report
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import atomic_files, json_files

VERDICT_NAME = "verdict.json"


def _scores(run: pathlib.Path, dataset: pathlib.Path, output: pathlib.Path, modality: str, *further: str) -> dict:
    # These flags come last, so that they override --modalities of the study.
    fixed = [f"--run={run}", f"--dataset={dataset}", f"--output={output}", f"--modalities={modality}"]
    commandline.call("semicml_tf.evaluate", [*further, *fixed])
    return report.load(output / report.FILE_NAME)


@component
def ModalityEvaluator(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    modality: Parameter[str],
    bars: Parameter[str],
    flags: Parameter[str],
    baseline: InputArtifact[Model] = None,
) -> None:
    """Judges a network on validation patients. Scores of test patients are only recorded.

    Args:
        examples: folder of a converted dataset.
        model: the run to judge.
        evaluation: `verdict.json`, and the folders of `semicml_tf.evaluate` on validation patients, on test patients
            if there are any, and of the baseline's validation.
        blessing: as of the Evaluator of TFX, with the property `modality`.
        modality: of the network.
        bars: `acceptance.Bars` as JSON.
        flags: of `semicml_tf.evaluate`.
        baseline: the latest blessed run of the modality.
    """
    limits = json_files.parse(bars, acceptance.Bars, what="the bars of a pipeline")
    given = study_flags.split(flags)
    with folders.read(examples) as dataset, folders.read(model) as run, folders.written(evaluation) as output:
        validation = _scores(run, dataset, output / "validation", modality, *given, "--partition=validation")
        former, not_comparable = None, ""
        if baseline is not None:
            further = (*given, "--partition=validation", "--allow_other_data", "--case_images=none")
            try:
                with folders.read(baseline) as blessed:
                    former = _scores(blessed, dataset, output / "baseline", modality, *further)
            except UserError as error:
                # E.g. data with another spacing, or a deleted folder. The user must decide to start a new line.
                not_comparable = f"{error.problem} ({baseline.uri}); --nobaseline starts a new line of models"
        test = None
        if DatasetInfo.load(dataset).partitions["test"]:
            test = _scores(run, dataset, output / "test", modality, *given, "--partition=test")
        verdict = acceptance.judge(
            modality,
            validation,
            limits,
            baseline=former,
            not_comparable=not_comparable,
            test=test,
        )
        atomic_files.write_json(output / VERDICT_NAME, verdict)
    why = acceptance.reasons(verdict)
    with folders.written(blessing) as folder:
        name = "BLESSED" if verdict["blessed"] else "NOT_BLESSED"
        atomic_files.write_text(folder / name, why)
    print(f"{modality}: {'blessed' if verdict['blessed'] else f'not blessed: {why}'}", flush=True)
    blessing.set_int_custom_property("blessed", int(verdict["blessed"]))
    blessing.set_string_custom_property("modality", modality)
    blessing.set_string_custom_property("blessing_message", why)
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
    if baseline is not None:
        blessing.set_string_custom_property("baseline_model", baseline.uri)
        blessing.set_int_custom_property("baseline_model_id", baseline.id)
