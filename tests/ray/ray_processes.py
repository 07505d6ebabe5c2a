"""Ray nodes and the served application as processes of their own, and calls to them that tell who answered."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import grpc

from semicml_tf.serving.client.channel import open_channel
from semicml_tf.serving.ray.router import NODE_KEY, REPLICA_KEY
from tests.support.serving_process import ROOT


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def process(command, log: pathlib.Path, **more):
    """A process group that is ended with the block: asked first, so that Ray takes its own processes along."""
    with open(log, "wb") as told:
        one = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **more}, stdout=told, stderr=told, start_new_session=True
        )
    try:
        yield one
    finally:
        if one.poll() is None:
            one.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()


@contextlib.contextmanager
def served(models, folder, *flags):
    """`serving.ray_app`; yields its process and its port once it answers."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "semicml_tf.serving.ray", f"--models={models}", f"--port={port}"]
    log = folder / "ray_app.log"
    with process([*command, f"--http_port={free_port()}", f"--port_file={port_file}", *flags], log) as one:
        wait_until(port_file.exists, 240, lambda: one.poll() is None, log)
        yield one, port


def wait_until(true, seconds, alive=lambda: True, log=None):
    end = time.monotonic() + seconds
    while not true():
        assert alive() and time.monotonic() < end, log.read_text() if log else f"not true within {seconds} s"
        time.sleep(0.2)


class Caller:
    """Calls Predict, again on UNAVAILABLE as this package's client does; keeps what it saw."""

    def __init__(self, port: int):
        self.channel = open_channel(f"127.0.0.1:{port}")
        self._stub = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self.retries = 0

    def predict(self, request, tries: int = 8):
        """The answer's bytes and its trailing metadata."""
        for left in range(tries - 1, -1, -1):
            try:
                data, call = self._stub.with_call(request.SerializeToString(), timeout=60)
                return data, dict(call.trailing_metadata())
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or not left:
                    raise
                self.retries += 1
                time.sleep(0.1 * 2 ** (tries - left))
        raise AssertionError

    def at_once(self, requests, threads: int = 16):
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.predict, requests))

    def who_answers(self, request, count: int = 32):
        """Replicas and nodes that answered `count` requests, several at once."""
        told = [metadata for _, metadata in self.at_once([request] * count, 8)]
        return {one[REPLICA_KEY] for one in told}, {one[NODE_KEY] for one in told}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
