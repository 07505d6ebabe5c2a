"""The files that TensorFlow Serving is started from: valid, and of one mind."""

import pathlib
import re

import pytest
import yaml

from serving import model_config

FOLDER = pathlib.Path(__file__).parents[1] / "serving"


def _settings(words):
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def _compose():
    (service,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    return service


def _kubernetes():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def test_the_kubernetes_documents_are_valid_and_fit_each_other():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    service, deployment = _kubernetes()
    for document in (service, deployment):
        kubernetes_validate.validate(document, "1.30", strict=True)
    pods = deployment["spec"]["template"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == pods["metadata"]["labels"]
    (container,) = pods["spec"]["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pods["spec"]["volumes"]}


def test_both_start_the_server_alike():
    container = _kubernetes()[1]["spec"]["template"]["spec"]["containers"][0]
    assert _settings(container["args"]) == _settings(_compose()["command"])
    assert container["image"].partition(":")[2] in _compose()["image"]


def test_every_file_that_is_named_is_mounted_and_there():
    service = _compose()
    mounted = {volume.split(":")[-2]: volume.split(":")[0] for volume in service["volumes"]}
    told = _settings(service["command"])
    for path in (told["model_config_file"], told["monitoring_config_file"], "/config/batching.config"):
        assert (FOLDER / mounted[path]).is_file()
    for model in model_config.of_file(FOLDER / "models.config", "/elsewhere"):
        assert model.base_path == pathlib.Path("/elsewhere", model.name)


def test_ports_are_open_to_this_machine_alone():
    assert all(port.startswith("127.0.0.1:") for port in _compose()["ports"])


def test_batches_are_filled_up_to_sizes_that_may_be():
    text = (FOLDER / "batching.config").read_text()
    sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    (largest,) = re.findall(r"^max_batch_size { value: (\d+) }$", text, re.MULTILINE)
    # TensorFlow Serving refuses to start otherwise.
    assert sizes == sorted(set(sizes)) and sizes[-1] == int(largest)
