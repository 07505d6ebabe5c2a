"""Compiles the pipeline for Kubeflow Pipelines v2, or Vertex AI Pipelines.

    python -m pipelines.kubeflow_v2_runner --study=STUDY.flags --deliveries=/data/deliveries \\
        --pipeline_root=gs://BUCKET/root --models=/data/models --work=/data/work --image=REGISTRY/semicml-tfx:1 \\
        --schema=schema.pbtxt --schema_in_containers=/data/schema.pbtxt

Writes pipeline.yaml, which can be uploaded with the KFP SDK, and starts nothing. The image must contain TFX, this
package and `pipelines` of this checkout, because components are started by module name. DELIVERIES, MODELS and WORK are
folders that all containers see, e.g. on a volume. Only files below the root of the pipeline may be in an object store.
"""

from __future__ import annotations

import pathlib
import tempfile

from pipelines import local_runner
from pipelines.config import KubeflowConfig
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, quiet_import

CONFIG = KubeflowConfig


def main(config: KubeflowConfig) -> None:
    """Writes the compiled pipeline."""
    path = pathlib.Path(config.output)
    try:
        with quiet_import.stderr_held_back():
            from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
    except ImportError as error:
        raise UserError(
            f"TFX or the KFP SDK is not installed ({error})", remedy="Use the environment of requirements/tfx.lock"
        ) from error
    runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=config.image,
        use_pipeline_spec_2_1=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(runner_config, folder, path.name)
        runner.run(_pipeline(config))
        compiled = pathlib.Path(folder, path.name).read_text(encoding="utf-8")
    atomic_files.write_text(path, compiled)
    print(f"pipeline: {path}")


def _pipeline(config: KubeflowConfig):
    from pipelines.semicml_pipeline import create_pipeline

    # Kubeflow supports only the resolvers of TFX, which have no modalities. The gate of export still applies.
    settings, modalities = local_runner.settings_of(config, compare_with_blessed=False)
    return create_pipeline(
        local_runner.data_of(config, config.deliveries, config.schema_in_containers),
        modalities,
        settings,
        pipeline_root=config.pipeline_root,
        models=config.models,
        work_root=config.work,
        name=config.name,
        beam_pipeline_args=config.beam_flag,
    )


if __name__ == "__main__":
    commandline.run("pipelines.kubeflow_v2_runner")
