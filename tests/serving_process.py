"""A server in a process of its own, for the tests that call one."""

import contextlib
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from semicml_tf.artefact.publish import publish
from semicml_tf.networks.unet import unet
from tests import threshold_model

ROOT = pathlib.Path(__file__).resolve().parents[1]
WINDOW = 32
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def serving(models, folder, *more):
    """A server process; yields it and its address, and never leaves it running."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "serving.local_server", f"--models={models}", f"--port_file={port_file}"]
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


def publish_unet(folder):
    """A small U-Net with dropout, so that it has every signature, published as `ct` below `folder`."""
    manifest = threshold_model.manifest("ct", window=WINDOW)
    network = unet(WINDOW, 4, name="ct", seed=0)
    publish(network, manifest, folder / "ct", with_dropout=unet(WINDOW, 4, name="ct_dropout", dropout_on=network))


def require_conformance(address, models, output):
    """Runs `serving.conformance` as a user does: no check may fail, none be skipped."""
    command = [sys.executable, "-m", "serving.conformance", f"--address={address}", "--model=ct"]
    done = subprocess.run(
        [*command, f"--reference={models / 'ct'}", f"--output={output}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert (found["failed"], found["skipped"]) == (0, 0) and found["passed"] == len(found["checks"]) >= 34


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
