"""Whether a candidate can be served: the embedded server is started on it and asked what a client asks.

TFX's own InfraValidator starts TensorFlow Serving in Docker or on Kubernetes, and knows nothing of what this package's
clients need of a server.
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
    """Exports one network to a folder of its own, serves it from there, and runs the conformance suite.

    Args:
        examples: the data that the run was trained on.
        model: the run.
        blessing: `conformance.json`, and the file that TFX's InfraValidator leaves.
        modality: whose network.
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
            found = suite.examine(address, modality, reference=str(models / modality))
        failed = [one["check"] for one in found if one["result"] == "failed"]
        atomic_files.write_json(output / REPORT_NAME, {"model": modality, "failed": failed, "checks": found})
        atomic_files.write_text(output / ("INFRA_NOT_BLESSED" if failed else "INFRA_BLESSED"), "; ".join(failed))
    passed = sum(one["result"] == "passed" for one in found)
    print(f"{modality}: {passed} of {len(found)} checks of the server passed", flush=True)
    blessing.set_int_custom_property("blessed", int(not failed))
    blessing.set_int_custom_property("has_model", 0)
    blessing.set_string_custom_property("modality", modality)
    blessing.set_string_custom_property("failed_checks", "; ".join(failed))
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
