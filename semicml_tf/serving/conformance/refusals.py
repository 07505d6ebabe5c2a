"""Invalid requests: a server must refuse each with a certain status, and then still answer valid requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from semicml_tf.artefact.manifest import EXAMPLES_NAME, SERIALIZED
from semicml_tf.serving.conformance.server import Server, require_code


def refusals(server: Server) -> Iterator[tuple[str, Callable[[], str]]]:
    """Titles and checks. A check returns the received status, or raises `Failed`."""
    for title, codes, request in _wrong_requests(server):

        def refused(codes=codes, request=request):
            code = require_code(codes, lambda: server.predict(request))
            server.predict(server.request())
            return code

        yield f"Refuses {title}, then answers a valid request", refused


def _wrong_requests(server: Server) -> Iterator[tuple[str, str, Any]]:
    """Title, allowed status codes and request of each case."""
    inputs = server.inputs(1)
    name, value = next(iter(inputs.items()))
    yield "an unknown model", "NOT_FOUND", server.request(inputs, model=f"{server.model}-unknown")
    yield "an unknown version", "NOT_FOUND", server.request(inputs, version=server.version() + 1000)
    yield "an unknown signature", "FAILED_PRECONDITION|INVALID_ARGUMENT", server.request(inputs, signature="unknown")
    yield "a request without a model name", "INVALID_ARGUMENT", server.request(inputs, model="")
    yield "a missing input", "INVALID_ARGUMENT", server.request({})
    yield "an additional input", "INVALID_ARGUMENT", server.request(inputs | {"unknown": value})
    other = np.float64 if value.dtype != np.float64 else np.int32
    yield "a wrong dtype", "INVALID_ARGUMENT", server.request(inputs | {name: value.astype(other)})
    yield "a wrong rank", "INVALID_ARGUMENT", server.request(inputs | {name: value[0]})
    if value.ndim > 1:
        yield "a wrong size", "INVALID_ARGUMENT", server.request(inputs | {name: np.concatenate([value, value], 1)})
    short = server.request(inputs)
    short.inputs[name].tensor_content = short.inputs[name].tensor_content[:-1]
    yield "a truncated tensor", "INVALID_ARGUMENT", short
    huge = server.request(inputs)
    huge.inputs[name].tensor_shape.dim[0].size = 1 << 40
    yield "a shape larger than its content", "INVALID_ARGUMENT|RESOURCE_EXHAUSTED", huge
    unknown = server.request(inputs)
    unknown.output_filter.append("unknown")
    yield "an unknown output", "INVALID_ARGUMENT", unknown
    if SERIALIZED in server.signatures():
        spoilt = {EXAMPLES_NAME: np.array([b"\xff no example"], object)}
        yield "an invalid serialised example", "INVALID_ARGUMENT", server.request(spoilt, signature=SERIALIZED)
    yield "an invalid message", "INVALID_ARGUMENT|INTERNAL", b"\xff\xff\xff\xff"
    yield "a truncated message", "INVALID_ARGUMENT|INTERNAL", server.request(inputs).SerializeToString()[:-5]
