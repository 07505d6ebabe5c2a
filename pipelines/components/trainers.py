"""The two trainers: Semi-CML from the pipeline's data, then PReL from the networks of Semi-CML."""

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model

from pipelines.components import folders
from pipelines.components.artefact_types import PseudoLabels
from pipelines.components.training import train
from semicml_tf.diagnostics.config import DiagnoseConfig
from semicml_tf.diagnostics.job import diagnose


@component
def SemiCmlTrainer(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    flags: Parameter[str],
    work_root: Parameter[str],
) -> None:
    """Trains both networks by Semi-CML.

    Args:
        examples: folder of a converted dataset.
        model: folder of the run.
        flags: flags of `semicml_tf.train`, as `study_flags.flags_of` writes them.
        work_root: folder of unfinished work, which an interrupted training resumes.
    """
    with folders.read(examples) as dataset, folders.written(model) as run:
        train("SemiCmlTrainer", dataset, run, flags, work_root, model)


@component
def PrelTrainer(
    examples: InputArtifact[Examples],
    initial_model: InputArtifact[Model],
    model: OutputArtifact[Model],
    pseudo_labels: OutputArtifact[PseudoLabels],
    flags: Parameter[str],
    work_root: Parameter[str],
) -> None:
    """Trains both networks by PReL, and keeps the soft labels that they learned from.

    Args:
        examples: folder of a converted dataset.
        initial_model: run whose networks are the first teachers and students.
        model: folder of the run.
        pseudo_labels: a NIfTI file per unlabelled patient, and `provenance.json`.
        flags: flags of `semicml_tf.train`, as `study_flags.flags_of` writes them.
        work_root: folder of unfinished work, which an interrupted training resumes.
    """
    with (
        folders.read(examples) as dataset,
        folders.read(initial_model) as initial,
        folders.written(model) as run,
        folders.written(pseudo_labels) as labels,
    ):
        train("PrelTrainer", dataset, run, flags, work_root, model, initial)
        config = DiagnoseConfig(run=run, dataset=dataset, output=labels, diagnosis="labels")
        provenance = diagnose(config).report
    pseudo_labels.set_int_custom_property("patients", len(provenance["cases"]))
    pseudo_labels.set_string_custom_property("teacher_run_hash", provenance["teacher"]["run_hash"])
    pseudo_labels.set_string_custom_property("label", provenance["label"])
