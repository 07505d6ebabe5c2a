"""`serving.ray_app` on this machine: the whole conformance suite against two replicas, and an orderly end."""

import signal
import threading

import grpc
import numpy as np
import pytest

from semicml_tf.exporting.publish import publish
from semicml_tf.inference.exported_model import load
from semicml_tf.serving.client.remote_model import RemoteModel
from tests.ray.ray_processes import Caller, served
from tests.support import class_models, threshold_model
from tests.support.class_models import REGIONS
from tests.support.serving_process import publish_unet, request, require_conformance


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    publish_unet(folder)
    publish(class_models.network(REGIONS), class_models.manifest(REGIONS), folder / "regions", warm_up=())
    return folder


@pytest.fixture(scope="module")
def running(models, tmp_path_factory):
    with served(models, tmp_path_factory.mktemp("served"), "--replicas=2", "--cpus=0.25") as both:
        yield both


def test_it_conforms(models, running, tmp_path):
    _, port = running
    require_conformance(f"127.0.0.1:{port}", models, tmp_path / "found.json")


def test_both_replicas_answer(running):
    with Caller(running[1]) as caller:
        replicas, nodes = caller.who_answers(request())
        assert len(replicas) == 2 and len(nodes) == 1 and not caller.retries


def test_a_model_of_two_classes_answers_with_a_mask_per_class(models, running):
    values = class_models.volume((20, 18, 5))
    with RemoteModel(f"127.0.0.1:{running[1]}", "regions") as remote:
        assert remote.manifest == load(models / "regions").manifest
        # Calls of two slices: Ray joins them and splits the answers.
        found = remote.predict(values, threshold_model.oblique(), batch_size=2)
    np.testing.assert_array_equal(found, class_models.expected(REGIONS, values))


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
