"""Trains both networks on by PReL from a Semi-CML run, and keeps the soft labels that they learned from."""

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model

from pipelines.components import folders
from pipelines.components.artefact_types import PseudoLabels
from pipelines.components.training import train
from semicml_tf.diagnostics.config import DiagnoseConfig
from semicml_tf.diagnostics.job import diagnose


@component
def PrelTrainer(
    examples: InputArtifact[Examples],
    initial_model: InputArtifact[Model],
    model: OutputArtifact[Model],
    pseudo_labels: OutputArtifact[PseudoLabels],
    flags: Parameter[str],
    work_root: Parameter[str],
) -> None:
    """Leaves the run's folder as the model, and the labels beside it.

    Args:
        examples: a converted dataset's folder.
        initial_model: the run whose networks are the first teachers and students.
        model: the run.
        pseudo_labels: a NIfTI file an unlabelled patient and `provenance.json`.
        flags: of `semicml_tf.train`, as `study_flags.flags_of` writes them.
        work_root: where a run that was cut off waits.
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
