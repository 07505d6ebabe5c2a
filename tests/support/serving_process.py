"""A server in a process of its own, or in this one, for the tests that call one."""

import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from semicml_tf import commandline
from semicml_tf.exporting.publish import publish
from semicml_tf.networks import catalogue
from semicml_tf.serving import tls
from semicml_tf.serving.server import job as local_server
from semicml_tf.serving.server import model_config
from semicml_tf.serving.server.config import ServerConfig
from semicml_tf.serving.server.model_store import ModelStore
from semicml_tf.serving.server.version_watch import VersionWatch
from tests.support import threshold_model
from tests.support.networks import unet

ROOT = pathlib.Path(__file__).resolve().parents[2]
WINDOW = 32
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def serving(models, folder, *more):
    """A server process; yields it and its address, and never leaves it running."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "semicml_tf.serving.server", f"--models={models}", f"--port_file={port_file}"]
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen([*command, "--port=0", *more], cwd=ROOT, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while not port_file.exists():
            assert process.poll() is None and time.monotonic() < end, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield process, f"127.0.0.1:{port_file.read_text().strip()}"
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving_here(models, **options):
    """The address of a server in this process, of the models of a folder; for what needs no signal and no crash."""
    config = ServerConfig(port=0, **options)
    store = ModelStore()
    watch = VersionWatch(store, lambda: model_config.of_folder(models))
    watch.look()
    watch.start(config.file_system_poll_wait_seconds)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)

    try:
        running = run(local_server.start(store, config, tls.server_credentials(config)))
        try:
            yield f"127.0.0.1:{running.port}"
        finally:
            run(running.stop(0.0))
    finally:
        watch.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def publish_unet(folder):
    """A small U-Net with dropout, so that it has every signature, published as `ct` below `folder`.

    Without warm-up requests: whoever asks for a signature compiles it.
    """
    manifest = threshold_model.manifest("ct", window=WINDOW)
    network = unet(WINDOW, 4, name="ct", seed=0, levels=2)
    publish(network, manifest, folder / "ct", with_dropout=catalogue.with_dropout(network), warm_up=())


def require_conformance(address, models, output, *, skipped=0):
    """Runs `serving.conformance`: no check may fail, and as many be skipped as are named."""
    commandline.call(
        "semicml_tf.serving.conformance",
        [f"--address={address}", "--model=ct", f"--reference={models / 'ct'}", f"--output={output}"],
    )
    found = json.loads(output.read_text())
    assert (found["failed"], found["skipped"]) == (0, skipped)
    assert found["passed"] + skipped == len(found["checks"]) >= 34


def request(values=None, *, name="ct", version=None, signature="probabilities", inputs=None):
    """A PredictRequest of slices (one of zeros if not given), or of other inputs by name."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    values = np.zeros((1, WINDOW, WINDOW, 1), np.float32) if values is None else values
    for key, value in (inputs or {"slices": values}).items():
        message.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return message
