"""Publishes the network of one modality, if it was blessed and can be served."""

import dataclasses
import pathlib
import time

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto.orchestration import driver_output_pb2
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model, ModelBlessing, ModelEvaluation, PushedModel

from pipelines import publishing
from pipelines.components import folders
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files

REPORT_NAME = "pushed.json"


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Prevents results from the cache, because the served models may have changed."""

    def __init__(self, metadata_handle):
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info) -> driver_output_pb2.DriverOutput:
        """Adds the time to the cache key."""
        result = driver_output_pb2.DriverOutput()
        data_types_utils.set_metadata_value(result.exec_properties["asked_at_ns"], time.time_ns())
        return result


def _reason_against(blessing, infra_blessing) -> str:
    """The reason why the network must not be published; "" for none."""
    if not blessing.get_int_custom_property("blessed"):
        return f"not blessed: {blessing.get_string_custom_property('blessing_message')}"
    if not infra_blessing.get_int_custom_property("blessed"):
        return f"cannot be served: {infra_blessing.get_string_custom_property('failed_checks')}"
    return ""


@component
def ModelPublisher(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    evaluation: InputArtifact[ModelEvaluation],
    blessing: InputArtifact[ModelBlessing],
    infra_blessing: InputArtifact[InfraBlessing],
    pushed_model: OutputArtifact[PushedModel],
    modality: Parameter[str],
    models: Parameter[str],
    keep: Parameter[int],
    gate_margin: Parameter[float],
) -> None:
    """Writes the next version into ``models/MODALITY``, or records the reason why not. Old versions do not change.

    Args:
        examples: the data that the run was trained on.
        model: the run.
        evaluation: of the evaluator.
        blessing: of the evaluator.
        infra_blessing: of the serving check.
        pushed_model: `pushed.json`, with the same content as properties.
        modality: of the network.
        models: folder of the served models.
        keep: number of old versions to keep; 0 for all.
        gate_margin: margin of the gate of export, in validation DSC.
    """
    target = pathlib.Path(models)
    with folders.read(examples) as dataset, folders.read(model) as run, folders.read(evaluation) as scores:
        reason = _reason_against(blessing, infra_blessing)
        if reason:
            outcome = publishing.outcome(Run.load(run), modality, reason=reason)
        else:
            outcome = publishing.publish(
                run, scores / "validation", dataset, target, modality, keep=keep or None, margin=gate_margin
            )
    with folders.written(pushed_model) as folder:
        atomic_files.write_json(folder / REPORT_NAME, {"modality": modality, **dataclasses.asdict(outcome)})
    message = f"published as {outcome.folder}" if outcome.version else f"not published: {outcome.reason}"
    print(f"{modality}: {message}", flush=True)
    pushed_model.set_int_custom_property("pushed", int(outcome.version > 0))
    pushed_model.set_string_custom_property("modality", modality)
    pushed_model.set_string_custom_property("pushed_destination", outcome.folder)
    pushed_model.set_string_custom_property("pushed_version", str(outcome.version or ""))
    pushed_model.set_string_custom_property("reason", outcome.reason)
    pushed_model.set_string_custom_property("run_hash", outcome.run_hash)
    pushed_model.set_string_custom_property("weights_hash", outcome.weights_hash)
    pushed_model.set_int_custom_property("model_id", model.id)


ModelPublisher.DRIVER_CLASS = Driver
