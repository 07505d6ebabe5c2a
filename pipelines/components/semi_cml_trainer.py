"""Trains both networks by Semi-CML: `semicml_tf.train` on the pipeline's data."""

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model

from pipelines.components import folders
from pipelines.components.training import train


@component
def SemiCmlTrainer(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    flags: Parameter[str],
    work_root: Parameter[str],
) -> None:
    """Leaves the run's folder as the model.

    Args:
        examples: a converted dataset's folder.
        model: the run.
        flags: of `semicml_tf.train`, as `study_flags.flags_of` writes them.
        work_root: where a run that was cut off waits.
    """
    with folders.read(examples) as dataset, folders.written(model) as run:
        train("SemiCmlTrainer", dataset, run, flags, work_root, model)
