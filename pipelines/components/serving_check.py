"""Checks that a candidate can be served: starts the embedded server with it, and sends the requests of a client.

The InfraValidator of TFX needs Docker or Kubernetes, and does not know what the clients of this package require.
"""

import pathlib
import tempfile

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model

from pipelines import command
from pipelines.components import folders
from semicml_tf.exporting.config import ExportConfig
from semicml_tf.exporting.job import export
from semicml_tf.serving.conformance import suite
from semicml_tf.system import atomic_files

REPORT_NAME = "conformance.json"


@component
def ServingCheck(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    blessing: OutputArtifact[InfraBlessing],
    modality: Parameter[str],
) -> None:
    """Exports one network to a temporary folder, serves it, and runs the conformance suite.

    Args:
        examples: the data that the run was trained on.
        model: the run.
        blessing: `conformance.json`, and the same file as of the InfraValidator of TFX.
        modality: of the network.
    """
    with (
        folders.read(examples) as dataset,
        folders.read(model) as run,
        folders.written(blessing) as output,
        tempfile.TemporaryDirectory() as folder,
    ):
        models = pathlib.Path(folder) / "models"
        export(ExportConfig(run=run, output=models, modalities=(modality,), dataset=dataset))
        with command.served(models) as address:
            checks = suite.examine(address, modality, reference=str(models / modality))
        failed = [check["check"] for check in checks if check["result"] == "failed"]
        atomic_files.write_json(output / REPORT_NAME, {"model": modality, "failed": failed, "checks": checks})
        atomic_files.write_text(output / ("INFRA_NOT_BLESSED" if failed else "INFRA_BLESSED"), "; ".join(failed))
    passed = sum(check["result"] == "passed" for check in checks)
    print(f"{modality}: {passed} of {len(checks)} checks of the server passed", flush=True)
    blessing.set_int_custom_property("blessed", int(not failed))
    blessing.set_int_custom_property("has_model", 0)
    blessing.set_string_custom_property("modality", modality)
    blessing.set_string_custom_property("failed_checks", "; ".join(failed))
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
