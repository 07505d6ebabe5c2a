"""Compiles the pipeline for Kubeflow Pipelines v2, or Vertex AI Pipelines.

    python -m pipelines.kubeflow_v2_runner --study=STUDY.flags --deliveries=/data/deliveries \\
        --pipeline_root=gs://BUCKET/root --models=/data/models --work=/data/work --image=REGISTRY/semicml-tfx:1 \\
        --schema=schema.pbtxt --schema_in_containers=/data/schema.pbtxt

Writes pipeline.yaml, to be uploaded with the KFP SDK; nothing is started. The image must contain TFX, this package and
`pipelines` of this checkout, because components are started by their modules' names. DELIVERIES, MODELS and WORK are
folders that every container sees, e.g. a volume. Only files below the pipeline's root are fetched from, and sent to,
an object store.
"""

from __future__ import annotations

import pathlib
import tempfile

from absl import flags

from pipelines import local_runner
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, quiet_import

_NEEDED = ("study", "deliveries", "pipeline_root", "models", "work", "image", "schema_in_containers")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    text = {"flag_values": values}
    flags.DEFINE_string("study", None, "Flagfile of the study; read here, the containers do not need it.", **text)
    flags.DEFINE_string("deliveries", None, "Folder with span-1, span-2, ..., as the containers see it.", **text)
    flags.DEFINE_string("pipeline_root", None, "Where the artefacts go, e.g. gs://BUCKET/root.", **text)
    flags.DEFINE_string("models", None, "Folder of the models that are served, as the containers see it.", **text)
    flags.DEFINE_string("work", None, "Folder of unfinished work, as the containers see it.", **text)
    flags.DEFINE_string(
        "schema_in_containers",
        None,
        "The file of --schema as the containers see it, e.g. on that volume, or gs://BUCKET/schema.pbtxt.",
        **text,
    )
    flags.DEFINE_string("image", None, "Container image of every component.", **text)
    flags.DEFINE_string("output", "pipeline.yaml", "File to write.", **text)
    flags.DEFINE_string("name", "semicml", "Name of the pipeline: a-z, 0-9 and -.", **text)
    flags.DEFINE_integer("span", None, "The last delivery to read; none: the newest.", lower_bound=0, **text)
    flags.DEFINE_integer("semi_cml_epochs", None, "None: the first of the study's --epochs.", lower_bound=1, **text)
    flags.DEFINE_integer("prel_epochs", None, "None: the second of them.", lower_bound=1, **text)
    flags.DEFINE_multi_string("train_flag", [], "One of semicml_tf.train, for both trainers; may be repeated.", **text)
    flags.DEFINE_multi_string("evaluate_flag", [], "One of semicml_tf.evaluate; may be repeated.", **text)
    local_runner.define_gates(values)
    local_runner.define_data(values)
    flags.DEFINE_multi_string(
        "beam_flag", [], "One of Beam's, e.g. --runner=DataflowRunner or --runner=FlinkRunner; may be repeated.", **text
    )


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    for name in _NEEDED:
        if not values[name].value:
            raise UserError(f"expected --{name}, got none", remedy="See --help")
    path = pathlib.Path(values.output)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError("expected an --output that ends in .yaml", path=path)
    try:
        with quiet_import.stderr_held_back():
            from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
    except ImportError as error:
        raise UserError(
            f"TFX or the KFP SDK is not there ({error})", remedy="Use the environment of requirements/tfx.lock"
        ) from error
    config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=values.image,
        use_pipeline_spec_2_1=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(config, folder, path.name)
        runner.run(_pipeline(values))
        made = pathlib.Path(folder, path.name).read_text(encoding="utf-8")
    atomic_files.write_text(path, made)
    print(f"pipeline: {path}")


def _pipeline(values: flags.FlagValues):
    from pipelines.semicml_pipeline import create_pipeline

    # Kubeflow knows TFX's own resolvers alone, none of which knows modalities; export's gate stays.
    settings, modalities = local_runner.settings_of(values, compare_with_blessed=False)
    return create_pipeline(
        local_runner.data_of(values, values.deliveries, values.schema_in_containers),
        modalities,
        settings,
        pipeline_root=values.pipeline_root,
        models=values.models,
        work_root=values.work,
        name=values.name,
        beam_pipeline_args=values.beam_flag,
    )


if __name__ == "__main__":
    commandline.run("pipelines.kubeflow_v2_runner")
