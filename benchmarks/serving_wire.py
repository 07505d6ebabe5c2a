"""Bytes on the wire by signature and type; and a call as JSON over REST beside gRPC, for scale.

    python -m benchmarks.serving_wire
    make bench-serving-json     # python -m benchmarks.serving_wire --mlserver=.venv-mlserver/bin

Sizes are those of the messages; HTTP/2 adds less than a thousandth. MLServer serves the same SavedModel by KServe's
open inference protocol from one process of its own; both take turns, a call each in a round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

import numpy as np
from absl import flags

from benchmarks import serving_setup
from benchmarks.competitor import Competitor
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, cpu, quiet_import

SLICES = 16
REST = "JSON over REST, MLServer"


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_string("mlserver", None, "Folder of MLServer's programs: compare with it.", flag_values=values)
    flags.DEFINE_integer("rounds", 15, "Rounds; the median counts.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("output", None, "Also write what was measured here, as JSON.", flag_values=values)


def messages(case: serving_setup.Case, models: pathlib.Path) -> list[dict]:
    """Bytes of request and answer of a batch, by signature; answered in this process."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from semicml_tf.artefact.manifest import DEFAULT, EXAMPLES_NAME, INPUT_NAME, PROBABILITIES, RAW, SERIALIZED
    from semicml_tf.artefact.manifest import LABELS_NAME as LABELS
    from semicml_tf.artefact.manifest import OUTPUT_NAME as SOFT
    from semicml_tf.exporting import slice_example
    from semicml_tf.serving.server import handlers
    from semicml_tf.serving.server.served_model import ServedModel

    half = dataclasses.replace(case, width=4)
    opened = {
        "float32": ServedModel.open("model", 1, serving_setup.published(case, models)),
        "float16": ServedModel.open("model", 2, serving_setup.published(half, models, "float16")),
    }
    slices = np.random.default_rng(0).uniform(-1, 1, (SLICES, case.window, case.window, 1)).astype(np.float32)
    examples = np.array([slice_example.encode(one) for one in slices], object)
    found = []
    for signature, asked, model, inputs in (
        (PROBABILITIES, SOFT, "float32", {INPUT_NAME: slices}),
        (PROBABILITIES, SOFT, "float16", {INPUT_NAME: slices}),
        (DEFAULT, LABELS, "float32", {INPUT_NAME: slices}),
        (RAW, LABELS, "float32", {INPUT_NAME: slices}),
        (SERIALIZED, LABELS, "float32", {EXAMPLES_NAME: examples}),
    ):
        request = predict_pb2.PredictRequest(output_filter=[asked])
        request.model_spec.name, request.model_spec.signature_name = "model", signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = handlers.predict_with(opened[model], request)
        kind = tf.dtypes.as_dtype(answer.outputs[asked].dtype).name
        sizes = {"request_bytes": request.ByteSize(), "response_bytes": answer.ByteSize()}
        found.append({"signature": signature, "output": asked, "type": kind, **sizes})
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def mlserver(programs: pathlib.Path, models: dict[str, pathlib.Path], folder: pathlib.Path):
    """MLServer over these models; yields its port."""
    http, grpc, metrics = _free_ports(3)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    # In its one process: what it hands to workers is copied once more.
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    for name, path in models.items():
        (folder / name).mkdir()
        model = {"name": name, "implementation": "mlserver_runtime.SavedModel", "parameters": {"uri": str(path)}}
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    where = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with open(folder / "mlserver.log", "wb") as log:
        process = subprocess.Popen([programs / "mlserver", "start", folder], env=where, stdout=log, stderr=log)

    def ready() -> bool:
        if process.poll() is not None:
            said = (folder / "mlserver.log").read_text()[-500:]
            raise UserError(f"MLServer ended: {said}", remedy="Make its environment anew")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/health/ready", timeout=5).status == 200
        except OSError:
            return False

    try:
        serving_setup.wait_for(ready, seconds=180)
        yield http
    finally:
        process.terminate()
        process.wait(60)


def compare(programs: pathlib.Path, cases: list[serving_setup.Case], folder: pathlib.Path, rounds: int) -> list[dict]:
    """Times a batch over gRPC and as JSON over REST."""
    from semicml_tf.inference.exported_model import load
    from semicml_tf.serving.client.remote_model import RemoteModel

    models = folder / "models"
    published = {case.model: serving_setup.published(case, models) for case in cases}
    found = []
    (folder / "mlserver").mkdir()
    with contextlib.ExitStack() as stack:
        _, address = stack.enter_context(serving_setup.serving(models, log=folder / "server.log"))
        port = stack.enter_context(mlserver(programs, published, folder / "mlserver"))
        for case in cases:
            here = load(published[case.model])
            slices = np.random.default_rng(0).uniform(-1, 1, (SLICES, case.window, case.window, 1)).astype(np.float32)
            client = programs / "python", pathlib.Path(__file__).parent / "mlserver_client.py"
            rest = Competitor([*map(str, client), str(port), case.model, str(SLICES), str(case.window)])
            seconds: dict[str, list[float]] = {"in process": [], "gRPC": [], REST: []}
            with RemoteModel(address, case.model, here.manifest) as there:
                here.slices(slices), there.slices(slices)
                for _ in range(rounds):
                    for name, model in (("in process", here), ("gRPC", there)):
                        begin = time.perf_counter()
                        model.slices(slices)
                        seconds[name].append(time.perf_counter() - begin)
                    seconds[REST].append(rest.seconds(1))
            rest.end()
            found.append({"case": case.title, "seconds": seconds, "array_bytes": slices.nbytes, **rest.facts})
    return found


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    programs = pathlib.Path(values.mlserver).absolute() if values.mlserver else None
    if programs and not (programs / "mlserver").exists():
        raise UserError("no MLServer here", path=programs, remedy="Make it: make bench-serving-json")
    quiet_import.tensorflow()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        sizes = messages(serving_setup.WHOLE, folder / "sizes")
        side = serving_setup.WHOLE.window
        print(f"{SLICES} slices of {side} x {side}\n\n| signature | output | type | request, kB | answer, kB |")
        print("|---|---|---|---|---|")
        for one in sizes:
            sent, received = one["request_bytes"] / 1000, one["response_bytes"] / 1000
            print(f"| {one['signature']} | {one['output']} | {one['type']} | {sent:.0f} | {received:.0f} |", flush=True)
        calls = []
        if programs:
            cases = [serving_setup.SMALL, serving_setup.CUBE]
            calls = compare(programs, cases, folder, values.rounds)
            print(f"\n{cpu.described()}, {SLICES} slices a call\n")
            print("| volume | way | p50, ms | relative to in process | request, kB | answer, kB |")
            print("|---|---|---|---|---|---|")
            for one in calls:
                for way, seconds in one["seconds"].items():
                    ratio = statistics.median(
                        there / here for there, here in zip(seconds, one["seconds"]["in process"])
                    )
                    p50 = 1000 * statistics.median(seconds)
                    sent, received = one["array_bytes"] / 1000, one["array_bytes"] / 1000
                    if way == REST:
                        sent, received = one["request_bytes"] / 1000, one["response_bytes"] / 1000
                    print(
                        f"| {one['case']} | {way} | {p50:.1f} | {ratio:.2f} | {sent:.0f} | {received:.0f} |", flush=True
                    )
    if values.output:
        atomic_files.write_json(values.output, {"processor": cpu.processor(), "messages": sizes, "calls": calls})


if __name__ == "__main__":
    commandline.run("benchmarks.serving_wire")
