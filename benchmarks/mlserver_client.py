"""Calls MLServer over REST when told to, see `benchmarks.competitor`: PORT MODEL SLICES WINDOW.

Runs in MLServer's environment: orjson, which it comes with, writes and reads arrays without Python lists on the way.
"""

import http.client
import json
import sys
import time

import numpy as np
import orjson

port, model, slices, window = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
values = np.random.default_rng(0).uniform(-1, 1, (slices, window, window, 1)).astype(np.float32)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)


def call() -> tuple[int, int]:
    """One inference; returns the bytes of the two bodies."""
    tensor = {"name": "slices", "shape": values.shape, "datatype": "FP32", "data": values.ravel()}
    body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
    connection.request("POST", f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {text[:300]!r}")
    output = orjson.loads(text)["outputs"][0]
    found = np.asarray(output["data"], np.float32).reshape(output["shape"])
    assert found.shape == values.shape
    return len(body), len(text)


call()
sent, received = call()
print(json.dumps({"request_bytes": sent, "response_bytes": received}), flush=True)
for line in sys.stdin:
    begin = time.perf_counter()
    for _ in range(int(line)):
        call()
    print(time.perf_counter() - begin, flush=True)
