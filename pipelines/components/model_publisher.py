"""Publishes one modality's network, if it was blessed and can be served."""

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
    """Keeps a former answer from being taken from the cache: what is served may have changed since."""

    def __init__(self, metadata_handle):
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info) -> driver_output_pb2.DriverOutput:
        """Makes the time a part of the key."""
        result = driver_output_pb2.DriverOutput()
        data_types_utils.set_metadata_value(result.exec_properties["asked_at_ns"], time.time_ns())
        return result


def _held_back(blessing, infra_blessing) -> str:
    """Why the network may not be published; empty if it may."""
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
    """Puts the next version into ``models/MODALITY``, or says why not; what is served already stays as it is.

    Args:
        examples: the data that the run was trained on.
        model: the run.
        evaluation: the evaluator's.
        blessing: the evaluator's.
        infra_blessing: the serving check's.
        pushed_model: `pushed.json`; the same as properties.
        modality: whose network.
        models: folder of the models that are served.
        keep: old versions to keep beside the new one; 0: all.
        gate_margin: of export's gate, in validation DSC.
    """
    target = pathlib.Path(models)
    with folders.read(examples) as dataset, folders.read(model) as run, folders.read(evaluation) as scores:
        why = _held_back(blessing, infra_blessing)
        if why:
            outcome = publishing.outcome(Run.load(run), modality, reason=why)
        else:
            outcome = publishing.publish(
                run, scores / "validation", dataset, target, modality, keep=keep or None, margin=gate_margin
            )
    with folders.written(pushed_model) as folder:
        atomic_files.write_json(folder / REPORT_NAME, {"modality": modality, **dataclasses.asdict(outcome)})
    said = f"published as {outcome.folder}" if outcome.version else f"not published: {outcome.reason}"
    print(f"{modality}: {said}", flush=True)
    pushed_model.set_int_custom_property("pushed", int(outcome.version > 0))
    pushed_model.set_string_custom_property("modality", modality)
    pushed_model.set_string_custom_property("pushed_destination", outcome.folder)
    pushed_model.set_string_custom_property("pushed_version", str(outcome.version or ""))
    pushed_model.set_string_custom_property("reason", outcome.reason)
    pushed_model.set_string_custom_property("run_hash", outcome.run_hash)
    pushed_model.set_string_custom_property("weights_hash", outcome.weights_hash)
    pushed_model.set_int_custom_property("model_id", model.id)


ModelPublisher.DRIVER_CLASS = Driver
