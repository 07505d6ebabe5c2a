"""`serving.ray_app` on this machine: the whole conformance suite against two replicas, and an orderly end."""

import json
import signal
import subprocess
import sys
import threading

import grpc
import pytest

from semicml_tf.artefact.publish import publish
from semicml_tf.networks.unet import unet
from tests import threshold_model
from tests.ray.ray_processes import Caller, served
from tests.serving_process import ROOT, WINDOW, request


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    manifest = threshold_model.manifest("ct", window=WINDOW)
    network = unet(WINDOW, 4, name="ct", seed=0)
    publish(network, manifest, folder / "ct", with_dropout=unet(WINDOW, 4, name="ct_dropout", dropout_on=network))
    return folder


@pytest.fixture(scope="module")
def running(models, tmp_path_factory):
    with served(models, tmp_path_factory.mktemp("served"), "--replicas=2", "--cpus=0.5") as both:
        yield both


def test_it_conforms(models, running, tmp_path):
    _, port = running
    command = [sys.executable, "-m", "serving.conformance", f"--address=127.0.0.1:{port}", "--model=ct"]
    done = subprocess.run(
        [*command, f"--reference={models / 'ct'}", f"--output={tmp_path / 'found.json'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["failed"], found["skipped"]) == (0, 0) and found["passed"] == len(found["checks"]) >= 34


def test_both_replicas_answer(running):
    with Caller(running[1]) as caller:
        replicas, nodes = caller.who_answers(request())
        assert len(replicas) == 2 and len(nodes) == 1 and not caller.retries


def test_what_it_does_not_do_is_unimplemented(running):
    with Caller(running[1]) as caller:
        for method in ("tensorflow.serving.PredictionService/Classify", "grpc.health.v1.Health/Watch"):
            with pytest.raises(grpc.RpcError) as caught:
                caller.channel.unary_unary(f"/{method}")(b"", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# The last one: it ends the server.
def test_sigterm_under_load_ends_it_in_order(running):
    process, port = running
    codes, going = [], threading.Event()

    def call():
        with Caller(port) as caller:
            while True:
                try:
                    caller.predict(request(), tries=1)
                except grpc.RpcError as error:
                    codes.append(error.code().name)
                    return
                going.set()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert going.wait(60)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert process.wait(90) == 0
    # What it refuses is refused; what it had accepted is answered.
    assert set(codes) <= {"UNAVAILABLE", "NOT_FOUND"}, codes
