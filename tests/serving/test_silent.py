"""A server that accepts connections and never responds: each call ends with its deadline."""

import contextlib
import socket
import threading
import time

import grpc
import pytest

from semicml_tf.errors import UserError
from semicml_tf.serving.client.remote_failure import RemoteFailure
from semicml_tf.serving.client.remote_model import RemoteModel
from semicml_tf.serving.conformance import checks, suite
from semicml_tf.serving.route.routing import Router


@contextlib.contextmanager
def listening(serve):
    """The address of a socket; `serve` gets each connection, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _says_nothing(connection):
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def _sends_byte_by_byte(connection):
    with contextlib.suppress(OSError):
        for byte in b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 1000:  # empty settings of HTTP/2
            connection.sendall(bytes([byte]))
            time.sleep(0.1)


@pytest.mark.parametrize("serve", [_says_nothing, _sends_byte_by_byte])
def test_calls_to_a_silent_server_end_with_their_deadline(serve):
    with listening(serve) as address:
        with pytest.raises(RemoteFailure, match="no answer in 0.5 s|cannot be reached") as caught:
            RemoteModel(address, "ct", deadline_s=0.5)
        assert caught.value.status in ("DEADLINE_EXCEEDED", "UNAVAILABLE") and "\n" not in caught.value.line
        with pytest.raises(RemoteFailure, match="no model answers: ct: .*(no answer in 0.5 s|reached)"):
            Router({"ct": address}, deadline_s=0.5)
        with pytest.raises(UserError, match="cannot be reached"):
            suite.examine(address, "ct", deadline_s=0.5)


def test_the_suite_ends_soon_if_the_server_never_responds(monkeypatch):
    class Silent(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.DEADLINE_EXCEEDED

        def details(self):
            return "Deadline Exceeded"

    def run():
        raise Silent

    monkeypatch.setattr(checks, "all_checks", lambda server: ((f"check {n}", run) for n in range(9)))
    found = [one["result"] for one in suite.check(None)]
    assert found == ["failed"] * suite.MAX_UNANSWERED + ["skipped"]
