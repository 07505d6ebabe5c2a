"""Faulty clients and half-copied models: correct responses, no lost call, and a server that keeps running."""

import re
import shutil
import signal
import socket
import threading
import time
from collections import Counter

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from semicml_tf.exporting.publish import publish
from tests.support import threshold_model
from tests.support.networks import unet
from tests.support.raw_call import RawCall, frame
from tests.support.serving_process import UNLIMITED, WINDOW, request, serving, serving_here

OK, FULL, GONE = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE
# Of the model `pet`, about half a second on two cores.
LONG = np.zeros((1000, WINDOW, WINDOW, 1), np.float32)
ONE_CALL = request().SerializeToString()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """`ct` answers at once, `pet` takes its time."""
    folder = tmp_path_factory.mktemp("published")
    networks = {"ct": threshold_model.network("ct", window=WINDOW), "pet": unet(WINDOW, 16, name="pet", levels=2)}
    for name, network in networks.items():
        publish(network, threshold_model.manifest(name, window=WINDOW), folder / name, warm_up=())
    return folder


@pytest.fixture(scope="module")
def narrow(published, tmp_path_factory):
    """A server with one worker, where two calls may wait."""
    folder = tmp_path_factory.mktemp("narrow")
    with serving(published, folder, "--workers=1", "--waiting=2", "--max_message_mib=8") as (_, address):
        yield address
    assert "Traceback" not in log(folder)


def log(folder) -> str:
    return (folder / "server.log").read_text()


def channel_to(address):
    # A connection of its own: channels to one address share one otherwise.
    return grpc.insecure_channel(address, [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)])


def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def lives(address) -> bool:
    """Whether a call gets its answer; for a moment, calls that came at the same time may fill the server."""
    end = time.monotonic() + 60
    with channel_to(address) as channel:
        while True:
            try:
                return bool(stub(channel).Predict(request(), timeout=60).outputs)
            except grpc.RpcError as error:
                if error.code() != FULL or time.monotonic() > end:
                    raise
            time.sleep(0.02)


def counted(folder) -> Counter:
    """What the server says of its calls when it ends."""
    said = re.search(r"(\d+) calls of Predict accepted: (\d+) answered, (\d+) whose.*; (\d+) refused", log(folder))
    return Counter(dict(zip(("accepted", "answered", "cut off", "refused"), map(int, said.groups()))))


def test_clients_that_send_single_bytes_do_not_block_others(narrow):
    slow = [RawCall(narrow, ONE_CALL) for _ in range(20)]
    for call in slow:
        assert call.send(100)
    # More than there is room for, had the server let them in.
    assert lives(narrow)
    for call in slow:
        while call.send(1000):
            pass
        answer = call.answer()
        assert predict_pb2.PredictResponse.FromString(answer).outputs["probabilities"].tensor_content
        call.socket.close()


def test_clients_that_read_no_response_do_not_block_others(narrow):
    stuck = [RawCall(narrow, ONE_CALL, takes_answers=False) for _ in range(10)]
    for call in stuck:
        call.send()
        assert lives(narrow)
    for call in stuck:
        call.reset()
    assert lives(narrow)


def test_killed_clients_do_not_block_others(narrow):
    for count in (0, 3, 100, 1000, len(ONE_CALL) + 5):
        for _ in range(4):
            call = RawCall(narrow, ONE_CALL)
            if count:
                call.send(count)
            call.reset()
    long = request(LONG, name="pet").SerializeToString()
    for _ in range(2):  # while it is worked on
        call = RawCall(narrow, long)
        call.send(16000)  # what fits the server's window unasked
        call.reset()
    assert lives(narrow)


def test_a_call_past_its_deadline_frees_its_place(narrow):
    with channel_to(narrow) as channel:
        busy = stub(channel).Predict.future(request(LONG, name="pet"), timeout=60)
        waiting = [stub(channel).Predict.future(request(), timeout=0.05) for _ in range(2)]
        assert {call.code() for call in waiting} <= {grpc.StatusCode.DEADLINE_EXCEEDED, OK}
        assert stub(channel).Predict(request(), timeout=60).outputs
        assert busy.code() == OK


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # the beginning of TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(0, 1, 1, b"no call was begun"),
        bytes(1000),
    ],
    ids=["HTTP/1.1", "TLS", "no frames", "data of no call", "zeros"],
)
def test_bytes_of_another_protocol(narrow, data):
    host, port = narrow.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert lives(narrow)


def test_a_message_with_a_wrong_length(narrow):
    for claimed in (0, 9 << 20, 0xFFFFFFFF):
        call = RawCall(narrow, ONE_CALL, claimed=claimed)
        call.send()
        assert call.answer() is None, claimed
        call.socket.close()
    # More than comes: gRPC waits on, for as long as the connection lasts.
    short = RawCall(narrow, ONE_CALL, claimed=len(ONE_CALL) + 1)
    short.send()
    assert lives(narrow)
    short.socket.close()


def test_an_oversized_message_is_refused_and_its_connection_stays_open(narrow):
    with channel_to(narrow) as channel:
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                stub(channel).Predict(request(np.zeros((2100, WINDOW, WINDOW, 1), np.float32)), timeout=60)
            assert caught.value.code() == FULL and "larger than" in caught.value.details()
            assert stub(channel).Predict(request(), timeout=60).outputs


def test_a_thousand_simultaneous_calls(narrow):
    """On ten connections at once; those for whom there is no room are told so, and each of the thousand hears."""
    channels = [channel_to(narrow) for _ in range(10)]
    calls = [stub(channels[number % 10]).Predict.future(request(), timeout=120) for number in range(1000)]
    codes = Counter(call.code() for call in calls)
    assert codes[OK] + codes[FULL] == 1000 and codes[OK] >= 3, codes
    for channel in channels:
        channel.close()
    assert lives(narrow)


def test_stopping_the_server_during_a_thousand_calls(published, tmp_path):
    with serving(published, tmp_path, "--waiting=1200") as (process, address):
        channels = [channel_to(address) for _ in range(10)]
        calls = [stub(channels[number % 10]).Predict.future(request(), timeout=120) for number in range(1000)]
        codes = Counter(call.code() for call in calls)
        assert codes == {OK: 1000}, "there was room for all"

        # Ten callers, each with the next call ready when it has its answer, until the server is gone.
        begun, seen = threading.Barrier(11), []

        def call_on_and_on(channel):
            begun.wait(60)
            while True:
                ready = [stub(channel).Predict.future(request(np.zeros_like(LONG[:20])), timeout=60) for _ in range(8)]
                seen.extend(found := [call.code() for call in ready])
                if GONE in found:
                    return

        callers = [threading.Thread(target=call_on_and_on, args=(channel,)) for channel in channels]
        for caller in callers:
            caller.start()
        begun.wait(60)
        end = time.monotonic() + 60
        while len(seen) < 200 and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join(60)
        assert process.wait(60) == 0
        for channel in channels:
            channel.close()
    after = Counter(seen)
    assert set(after) == {OK, GONE}, after
    # Those that were let in are those that were answered, on both sides.
    assert counted(tmp_path) == Counter({"accepted": 1000 + after[OK], "answered": 1000 + after[OK]})
    assert "Traceback" not in log(tmp_path)


def test_a_stopped_server_ends_within_its_grace_period(published, tmp_path):
    with serving(published, tmp_path, "--workers=1", "--grace_s=0.3") as (process, address):
        endless = RawCall(address, ONE_CALL)
        endless.send(100)
        deaf = RawCall(address, ONE_CALL, takes_answers=False)
        deaf.send()
        with channel_to(address) as channel:
            assert stub(channel).Predict(request(), timeout=60).outputs
            calls = [stub(channel).Predict.future(request(LONG, name="pet"), timeout=120) for _ in range(12)]
            calls[0].result()
            process.send_signal(signal.SIGTERM)
            codes = [call.code() for call in calls]
            assert set(codes) <= {OK, GONE} and codes[-1] == GONE, codes
        assert process.wait(60) == 0
    counts = counted(tmp_path)
    assert counts["answered"] == codes.count(OK) + 2 and counts["accepted"] == 14
    assert "Traceback" not in log(tmp_path)


@pytest.fixture
def calling():
    """Begins to call `ct` at an address; ends it and returns the versions that answered, in order, and the errors."""
    is_over, versions, errors = threading.Event(), [], []

    def begin(address):
        def call_on_and_on():
            with channel_to(address) as channel:
                while not is_over.is_set():
                    try:
                        versions.append(stub(channel).Predict(request(), timeout=60).model_spec.version.value)
                    except grpc.RpcError as error:
                        errors.append(error)

        caller = threading.Thread(target=call_on_and_on)
        caller.start()

        def end():
            is_over.set()
            caller.join(60)
            return versions, errors

        return versions, end

    yield begin
    is_over.set()


def wait_until(happened) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_versions_are_copied_and_removed_during_use(published, tmp_path, calling, caplog):
    models = tmp_path / "models"
    shutil.copytree(published, models)
    with serving_here(models, file_system_poll_wait_seconds=0.05) as address:
        versions, end = calling(address)
        # File by file in the worst order, the largest one in pieces, with looks in between.
        source, target = models / "pet" / "1", models / "ct" / "2"
        files = sorted((path for path in (models / "ct" / "1").rglob("*") if path.is_file()), reverse=True)
        files.sort(key=lambda path: path.name != "saved_model.pb")
        for path in files:
            copy = target / path.relative_to(models / "ct" / "1")
            copy.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes()
            for stop in (len(data) // 2, len(data)):
                copy.write_bytes(data[:stop])
                time.sleep(0.15)
        wait_until(lambda: versions[-1:] == [2])
        # A version is taken away while a long call is under way in it.
        shutil.copytree(source, models / "pet" / ".copying")
        (models / "pet" / ".copying").rename(models / "pet" / "2")
        with channel_to(address) as channel:
            ask = request(name="pet", version=2)
            wait_until(lambda: stub(channel).Predict.future(ask, timeout=60).code() == OK)
            long = stub(channel).Predict.future(request(LONG, name="pet", version=2), timeout=60)
            shutil.rmtree(models / "pet" / "2")
            shutil.rmtree(models / "ct" / "2")
            wait_until(lambda: stub(channel).Predict.future(ask, timeout=60).code() == grpc.StatusCode.NOT_FOUND)
            assert long.result().model_spec.version.value == 2
        wait_until(lambda: versions[-1:] == [1])
        versions, errors = end()
    assert not errors
    assert [number for number, before in zip(versions, [None, *versions]) if number != before] == [1, 2, 1]
    # TensorFlow tells at length of a fingerprint.pb of which half is there, and goes on.
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert all("Fingerprint was found, but there was an error" in line for line in told), told
