"""The deployment files of TensorFlow Serving are valid and consistent."""

import pathlib
import re

import pytest
import yaml

from semicml_tf.serving.server import model_config

# tensorflow_serving/model_servers/main.cc at 2.19.1.
FLAGS = {
    "port", "grpc_socket_path", "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support", "enable_batching", "allow_version_labels_for_unavailable_models",
    "batching_parameters_file", "enable_per_model_batching_parameters", "model_config_file",
    "model_config_file_poll_wait_seconds", "model_name", "model_base_path", "num_load_threads", "num_unload_threads",
    "max_num_load_retries", "load_retry_interval_micros", "file_system_poll_wait_seconds", "flush_filesystem_caches",
    "tensorflow_session_parallelism", "tensorflow_session_config_file", "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism", "use_alts_credentials", "ssl_config_file", "platform_config_file",
    "per_process_gpu_memory_fraction", "saved_model_tags", "grpc_channel_arguments", "grpc_max_threads",
    "enable_model_warmup", "num_request_iterations_for_warmup", "version", "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph", "prefer_tflite_model", "num_tflite_pools",
    "num_tflite_interpreters_per_pool", "enable_signature_method_name_check", "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled", "enable_profiler", "thread_pool_factory_config_file", "mixed_precision",
    "skip_initialize_tpu", "enable_grpc_healthcheck_service", "enable_serialization_as_tensor_content",
}  # fmt: skip
FOLDER = pathlib.Path(__file__).parents[2] / "serving"


def _settings(words):
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def _compose():
    (service,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    return service


def _kubernetes():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def test_the_kubernetes_documents_are_valid_and_consistent():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    service, deployment = _kubernetes()
    for document in (service, deployment):
        kubernetes_validate.validate(document, "1.30", strict=True)
    pods = deployment["spec"]["template"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == pods["metadata"]["labels"]
    (container,) = pods["spec"]["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pods["spec"]["volumes"]}


def test_compose_and_kubernetes_start_the_server_with_the_same_flags():
    container = _kubernetes()[1]["spec"]["template"]["spec"]["containers"][0]
    assert _settings(container["args"]) == _settings(_compose()["command"])
    assert container["image"].partition(":")[2] in _compose()["image"]
    assert {one["name"]: one["value"] for one in container["env"]} == _compose()["environment"]
    assert "TF_ENABLE_ONEDNN_OPTS=1" in (FOLDER.parent / "Dockerfile").read_text()


def test_the_server_knows_all_flags():
    # It prints what it does not know, and goes on without.
    assert set(_settings(_compose()["command"])) <= FLAGS


def test_all_named_files_are_mounted_and_exist():
    service = _compose()
    mounted = {volume.split(":")[-2]: volume.split(":")[0] for volume in service["volumes"]}
    told = _settings(service["command"])
    for path in map(pathlib.PurePosixPath, (told["model_config_file"], told["monitoring_config_file"])):
        assert (FOLDER / mounted[str(path.parent)] / path.name).is_file()
    for model in model_config.of_file(FOLDER / "models.config", "/elsewhere"):
        assert model.base_path == pathlib.Path("/elsewhere", model.name)


def test_ports_are_open_only_to_the_local_machine():
    assert all(port.startswith("127.0.0.1:") for port in _compose()["ports"])


def test_batches_are_padded_to_allowed_sizes():
    text = (FOLDER / "batching.config").read_text()
    sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    told = dict(re.findall(r"^(\w+) { value: (\w+) }$", text, re.MULTILINE))
    # TensorFlow Serving refuses to start otherwise.
    assert sizes == sorted(set(sizes)) and sizes[-1] == int(told["max_execution_batch_size"])
    assert told["enable_large_batch_splitting"] == "true"
    assert int(told["max_batch_size"]) >= sizes[-1]
