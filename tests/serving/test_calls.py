"""The client's calls to servers that fail, wait, or replace their model."""

import dataclasses
import threading
import time

import grpc
import numpy as np
import pytest

import serving
from semicml_tf.errors import UserError
from semicml_tf.inference.segmenter_wrappers import MonteCarlo, slice_seeds
from semicml_tf.inference.volume import segment
from semicml_tf.labels import LESION
from semicml_tf.serving.client.predict_calls import LONGEST_BACKOFF_S
from semicml_tf.serving.client.remote_failure import RemoteFailure, VersionGone
from semicml_tf.serving.client.remote_model import RemoteModel
from tests.support import threshold_model
from tests.support.fake_prediction_server import Fake
from tests.support.fake_prediction_server import serving as serve

SHAPE = (20, 18, 40)
CT, AFFINE = threshold_model.volume("ct", SHAPE), threshold_model.oblique()
MANIFEST = threshold_model.manifest("ct")
SLICE = np.zeros((1, 16, 16, 1), np.float32)


@pytest.fixture
def fake():
    return Fake("ct")


@pytest.fixture
def address(fake):
    with serve(fake) as address:
        yield address


def here(batch_size=16, manifest=MANIFEST):
    return segment(CT, AFFINE, manifest, threshold_model.predict("ct"), batch_size=batch_size)


@pytest.mark.parametrize("parallel, batch_size", [(1, 16), (4, 5), (7, 1)])
def test_the_result_does_not_depend_on_the_number_of_simultaneous_calls(fake, address, parallel, batch_size):
    together = threading.Barrier(parallel)

    def wait(number):
        if number <= parallel:
            together.wait(timeout=20)  # breaks unless so many are under way at once
        time.sleep(0.001 * (number % 3))

    fake.each = wait
    with serving.connect(address, "ct", parallel=parallel) as model:
        np.testing.assert_array_equal(model.probabilities(CT, AFFINE, batch_size=batch_size), here(batch_size))
    assert fake.most == parallel
    assert max(fake.sizes) == batch_size and sum(fake.sizes) > SHAPE[2]


def test_the_manifest_comes_from_the_server_and_fixes_the_version(fake, address):
    fake.versions["ct"][7] = dataclasses.replace(MANIFEST, thresholds={LESION: 0.9}, run_hash="seven")
    with serving.connect(address, "ct") as model:
        assert (model.version, model.manifest) == (7, fake.versions["ct"][7])
        assert model.origins() == [{"model": f"{address}/ct", "version": 7, "run_hash": "seven"}]
        fake.versions["ct"][8] = MANIFEST
        np.testing.assert_array_equal(model.predict(CT, AFFINE), here() >= np.float32(0.9))
        assert model.version == 7
        model.refresh()
        assert (model.version, model.manifest) == (8, MANIFEST)
    with serving.connect(address, "ct", version=7) as model:
        model.refresh()
        assert (model.version, model.manifest.run_hash) == (7, "seven")


def test_a_manifest_in_tensor_content_is_read(fake, address):
    fake.sends_content = True
    with serving.connect(address, "ct") as model:
        assert (model.version, model.manifest) == (1, MANIFEST)


def test_a_response_that_cannot_be_decoded_is_reported_in_one_line(fake, address):
    fake.spoil = lambda tensor: setattr(tensor, "tensor_content", tensor.tensor_content[:-1])
    with RemoteModel(address, "ct", MANIFEST) as model:
        with pytest.raises(RemoteFailure, match="its shape needs 1024 bytes of tensor_content, got 1023"):
            model.slices(SLICE)


def test_a_volume_is_repeated_if_its_version_is_replaced(fake, address):
    second = dataclasses.replace(MANIFEST, thresholds={LESION: 0.8}, run_hash="second")

    def swap(number):
        if number == 3:
            fake.versions["ct"] = {2: second}

    fake.each = swap
    with serving.connect(address, "ct", parallel=2) as model:
        np.testing.assert_array_equal(model.predict(CT, AFFINE, batch_size=4), here(4) >= np.float32(0.8))
        assert (model.version, model.manifest) == (2, second)
        fake.versions["ct"] = {}
        with pytest.raises(RemoteFailure, match="has no model 'ct'"):
            model.predict(CT, AFFINE)


def test_a_requested_version_is_never_replaced_by_another(fake, address):
    fake.versions["ct"][2] = dataclasses.replace(MANIFEST, run_hash="second")
    with serving.connect(address, "ct", version=1) as model:
        del fake.versions["ct"][1]
        with pytest.raises(RemoteFailure, match="has no model 'ct' version 1") as caught:
            model.predict(CT, AFFINE)
        assert not isinstance(caught.value, VersionGone)
    with pytest.raises(RemoteFailure, match="version 3"):
        serving.connect(address, "ct", version=3)


def test_with_a_manifest_file_the_first_version_answers_all_calls(fake, address):
    def swap(number):
        if number == 3:
            fake.versions["ct"][2] = dataclasses.replace(MANIFEST, run_hash="second")

    fake.each = swap
    with RemoteModel(address, "ct", MANIFEST, parallel=1) as model:
        np.testing.assert_array_equal(model.probabilities(CT, AFFINE, batch_size=4), here(4))
        assert model.version == 1 and fake.calls["manifest"] == 0
    # Were several asked before the first answer tells its version, a second version among them is noticed.
    del fake.versions["ct"][2]
    first = threading.Barrier(2)

    def apart(number):
        if number <= 2:
            first.wait(timeout=20)
        if number == 1:
            time.sleep(0.2)
            fake.versions["ct"][2] = MANIFEST

    fake.each, fake.calls["probabilities"] = apart, 0
    with RemoteModel(address, "ct", MANIFEST, parallel=2) as model:
        with pytest.raises(VersionGone, match="answered in its place"):
            model.probabilities(CT, AFFINE, batch_size=40)


def test_only_unavailable_servers_are_retried(fake, address, monkeypatch):
    waits = []
    with RemoteModel(address, "ct", MANIFEST, backoff_s=0.5) as model:
        monkeypatch.setattr(model._calls._closed, "wait", waits.append)
        fake.fail = grpc.StatusCode.UNAVAILABLE, 2
        np.testing.assert_array_equal(model.slices(SLICE), threshold_model.predict("ct")(SLICE))
        assert fake.calls["probabilities"] == 3
        # Between half of the doubled wait and all of it.
        assert [0.25 <= waits[0] <= 0.5, 0.5 <= waits[1] <= 1.0] == [True, True]
        fake.fail = grpc.StatusCode.UNAVAILABLE, 99
        with pytest.raises(RemoteFailure, match="cannot be reached"):
            model.slices(SLICE)
        assert fake.calls["probabilities"] == 3 + 5 and max(waits) <= LONGEST_BACKOFF_S
        for code in (
            *(grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT),
            *(grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNKNOWN),
        ):
            before = fake.calls["probabilities"]
            fake.fail = code, 1
            with pytest.raises(RemoteFailure) as caught:
                model.slices(SLICE)
            assert (caught.value.status, caught.value.model) == (code.name, "ct")
            assert fake.calls["probabilities"] == before + 1, code


def test_retry_delays_are_random(fake, address, monkeypatch):
    waits = set()
    with RemoteModel(address, "ct", MANIFEST, retries=1) as model:
        monkeypatch.setattr(model._calls._closed, "wait", waits.add)
        for _ in range(5):
            fake.fail = grpc.StatusCode.UNAVAILABLE, 1
            model.slices(SLICE)
    assert len(waits) == 5


def test_the_deadline_limits_the_wait_for_a_silent_server(fake, address):
    let_go = threading.Event()
    fake.each = lambda number: let_go.wait(30)
    try:
        with RemoteModel(address, "ct", MANIFEST, deadline_s=0.3) as model:
            with pytest.raises(RemoteFailure, match="no answer in 0.3 s"):
                model.probabilities(CT, AFFINE)
        assert fake.calls["probabilities"] <= 4, "a call that ran out of time is not made again"
    finally:
        let_go.set()


def test_closing_the_connection_cancels_running_calls(fake, address):
    let_go = threading.Event()
    fake.each = lambda number: let_go.wait(60)
    before = threading.active_count()
    try:
        model = RemoteModel(address, "ct", MANIFEST)
        threading.Timer(0.3, model.close).start()
        with pytest.raises(RemoteFailure, match="CANCELLED"):
            model.probabilities(CT, AFFINE)
        end = time.monotonic() + 20
        while any(thread.name.startswith("ask") for thread in threading.enumerate()):
            assert time.monotonic() < end, f"{threading.active_count() - before} threads are left"
            time.sleep(0.02)
    finally:
        let_go.set()


def test_the_deadline_covers_all_attempts(fake, address):
    fake.fail = grpc.StatusCode.UNAVAILABLE, 99
    start = time.monotonic()
    with RemoteModel(address, "ct", MANIFEST, deadline_s=0.5, retries=99, backoff_s=0.1) as model:
        with pytest.raises(RemoteFailure, match="cannot be reached|no answer"):
            model.slices(SLICE)
    assert time.monotonic() - start < 5 and 2 <= fake.calls["probabilities"] < 20


def test_a_batch_is_split_into_messages_of_the_allowed_size(fake, address):
    limit = 40 * 4 * 16 * 16 / 2**20  # 40 slices and no header
    with serving.connect(address, "ct", max_message_mib=limit) as model:
        most = model.slices_a_message
        assert 30 <= most < 40
        batch = np.random.default_rng(0).uniform(-1, 1, (100, 16, 16, 1)).astype(np.float32)
        np.testing.assert_array_equal(model.slices(batch), threshold_model.predict("ct")(batch))
        assert len(fake.sizes) == -(-100 // most) and sum(fake.sizes) == 100
        assert max(fake.sizes) - min(fake.sizes) <= 1 and max(fake.sizes) <= most
    with pytest.raises(UserError, match="one slice or patch of 16 x 16 pixels takes .* Raise --max_message_mib"):
        RemoteModel(address, "ct", MANIFEST, max_message_mib=0.002)


def test_no_message_exceeds_its_limit():
    # The server's own limit is the client's, to the byte.
    fake = Fake("ct", window=64)
    for mib in (0.05, 0.5, 1.7):
        with serve(fake, options=[("grpc.max_receive_message_length", int(mib * 2**20))]) as address:
            with serving.connect(address, "ct", max_message_mib=mib) as model:
                assert model.slices(np.zeros((300, 64, 64, 1), np.float32)).shape == (300, 64, 64, 1)


def test_a_smaller_limit_of_the_server_is_reported_with_a_remedy(fake):
    with serve(fake, options=[("grpc.max_receive_message_length", 30000)]) as address:
        with serving.connect(address, "ct") as model:
            with pytest.raises(RemoteFailure, match="takes messages of at most 0.0286 MiB") as caught:
                model.slices(np.zeros((40, 16, 16, 1), np.float32))
            told = float(caught.value.remedy.split("--max_message_mib=")[1].split(",")[0])
        with serving.connect(address, "ct", max_message_mib=told) as model:
            assert len(model.slices(np.zeros((40, 16, 16, 1), np.float32))) == 40


def test_an_oversized_response_is_not_read(fake):
    fake.spoil = lambda tensor: setattr(tensor, "tensor_content", bytes(3 << 20))
    with serve(fake, options=[("grpc.max_send_message_length", -1)]) as address:
        with RemoteModel(address, "ct", MANIFEST, max_message_mib=1) as model:
            with pytest.raises(RemoteFailure, match="expected an answer of at most 2 MiB .*, got one of 3 MiB"):
                model.slices(SLICE)


def test_a_busy_server_is_reported_as_busy(fake, address):
    fake.fail = grpc.StatusCode.RESOURCE_EXHAUSTED, 1
    with RemoteModel(address, "ct", MANIFEST) as model:
        with pytest.raises(RemoteFailure, match="too much to do.*Start again later, or lower --parallel"):
            model.slices(SLICE)


def test_dropout_seeds_stay_with_their_slices_in_simultaneous_calls(address):
    class Told(RemoteModel):
        """Answers with the seed of each slice, the later batches first."""

        def dropout_slices(self, batch, seeds):
            time.sleep(0.01 if seeds[0] % 2 else 0.0)
            return np.broadcast_to((seeds % 1000 / np.float32(1000))[:, None, None, None], batch.shape)

    manifest = dataclasses.replace(MANIFEST, monte_carlo=True)
    values, affine = threshold_model.volume("ct", (16, 16, 50)), np.diag([-1.0, -1.0, 1.0, 1.0])
    with Told(address, "ct", manifest, parallel=5) as model:
        found = MonteCarlo(model, 1, 3).probabilities(values, affine, batch_size=3)
    expected = slice_seeds(3, 0, 50) % 1000 / np.float32(1000)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def test_a_model_without_a_served_manifest_is_reported_in_one_line(fake, address, monkeypatch):
    monkeypatch.setattr(fake, "_manifest", lambda manifest, request: ("labels", np.zeros(1, np.uint8)))
    with pytest.raises(RemoteFailure, match="expected 'manifest' from signature 'manifest'"):
        serving.connect(address, "ct")
    monkeypatch.setattr(fake, "_manifest", lambda manifest, request: ("manifest", np.zeros(1, np.uint8)))
    with pytest.raises(RemoteFailure, match="expected dtype string, got uint8"):
        serving.connect(address, "ct")
    monkeypatch.setattr(fake, "_manifest", lambda manifest, request: ("manifest", np.array([b"{}"], object)))
    with pytest.raises(UserError, match="contract version"):
        serving.connect(address, "ct")
    with pytest.raises(RemoteFailure, match="has no model 'mr'"):
        serving.connect(address, "mr")
    fake.tells_manifest = False
    with pytest.raises(
        RemoteFailure, match="does not tell its manifest .* Export the run again .* or name its manifest"
    ):
        serving.connect(address, "ct")
    with RemoteModel(address, "ct", MANIFEST) as model:
        assert model.slices(SLICE).shape == SLICE.shape
