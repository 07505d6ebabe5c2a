"""The pipeline compiled for Kubeflow Pipelines v2, and read by the KFP SDK."""

import importlib
import pathlib

import pytest
import yaml

pytest.importorskip("tfx", reason="needs the environment of requirements/tfx.lock")
pytest.importorskip("kfp", reason="needs the environment of requirements/tfx.lock")

from semicml_tf import commandline
from semicml_tf.errors import UserError
from tests.tfx.pipeline_study import STUDY

ROOT = pathlib.Path(__file__).parents[2]
IMAGE = "registry.example/semicml-tfx:1"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("kubeflow")
    (root / "study.flags").write_text(STUDY)
    commandline.call("pipelines.kubeflow_v2_runner", _arguments(root))
    return root / "pipeline.yaml"


def _arguments(root, *further):
    return [
        f"--study={root / 'study.flags'}",
        "--deliveries=/data/deliveries",
        "--pipeline_root=gs://bucket/root",
        "--models=/data/models",
        "--work=/data/work",
        "--schema_in_containers=/data/schema.pbtxt",
        f"--image={IMAGE}",
        f"--output={root / 'pipeline.yaml'}",
        "--name=semicml-study",
        "--beam_flag=--runner=DataflowRunner",
        "--beam_flag=--project=some-project",
        *further,
    ]


def test_the_sdk_reads_it(compiled):
    from kfp import components

    held = components.load_component_from_file(str(compiled))
    assert held.name == "semicml-study"
    # What a backend is sent is checked against the schema of pipelines once more.
    assert held.component_spec.implementation.graph.root.dag.tasks


def test_every_component_starts_in_the_image_by_names_that_can_be_imported_there(compiled):
    body = yaml.safe_load(compiled.read_text())
    executors = body["deploymentSpec"]["executors"]
    for name, executor in executors.items():
        container = executor["container"]
        assert container["image"] == IMAGE, name
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        module, _, attribute = path.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), path
    tasks = set(body["root"]["dag"]["tasks"])
    assert {"SemiCmlTrainer", "PrelTrainer", "ModalityEvaluator.ct", "ServingCheck.pet", "ModelPublisher.pet"} <= tasks
    # Training waits for the check of the delivery; what is published for both blessings.
    dag = body["root"]["dag"]["tasks"]
    assert "DeliveryCheck" in dag["SemiCmlTrainer"]["dependentTasks"]
    assert {"ModalityEvaluator.ct", "ServingCheck.ct"} <= set(dag["ModelPublisher.ct"]["dependentTasks"])
    assert "ServingCheck.pet" not in dag["ModelPublisher.ct"]["dependentTasks"]


def test_what_the_containers_import_and_open_is_there_and_not_here(compiled):
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as entrypoint
    from tfx.utils import import_utils

    text = compiled.read_text()
    schemas = {
        one["artifactType"]["instanceSchema"]
        for component in yaml.safe_load(text)["components"].values()
        for ends in ("inputDefinitions", "outputDefinitions")
        for one in component.get(ends, {}).get("artifacts", {}).values()
    }
    # As a container finds the type of an artefact that it is handed.
    kinds = set()
    for schema in schemas:
        held = pipeline_spec_pb2.ArtifactTypeSchema(instance_schema=schema)
        kinds.add(import_utils.import_class_by_path(entrypoint._retrieve_class_path(held)).__name__)
    assert {"DeliveryReport", "PseudoLabels", "Examples", "Model", "PushedModel"} <= kinds
    assert "/data/schema.pbtxt" in text and str(ROOT) not in text


def test_beams_flags_reach_what_is_made_of_beam(compiled):
    executors = yaml.safe_load(compiled.read_text())["deploymentSpec"]["executors"]
    for name in ("CaseExampleGen", "StatisticsGen"):
        (args,) = (one["container"]["args"] for key, one in executors.items() if key.startswith(name))
        assert {"--runner=DataflowRunner", "--project=some-project"} <= set(args)


def test_what_lacks_or_does_not_fit_is_one_line(tmp_path):
    (tmp_path / "study.flags").write_text(STUDY)
    for further, expected in ((["--image="], "expected --image"), (["--output=a.json"], "ends in .yaml")):
        with pytest.raises(UserError, match=expected):
            commandline.call("pipelines.kubeflow_v2_runner", _arguments(tmp_path, *further))
