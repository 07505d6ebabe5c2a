"""TensorFlow Serving's calls as functions of a request and a `ModelStore`, whatever carries them.

The messages are those of tensorflow-serving-api; status codes follow TensorFlow Serving's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from semicml_tf.serving import bounds
from semicml_tf.serving.bounds import MAX_BYTES, TooLarge
from semicml_tf.serving.server.model_store import ModelStore, NotServed, UnknownLabel
from semicml_tf.serving.server.served_model import ServedModel
from semicml_tf.serving.tensors import decode_inputs, encode
from semicml_tf.serving.terminal_text import one_line

_LOG = logging.getLogger(__name__)
DEFAULT_SIGNATURE = "serving_default"
_METADATA_FIELD = "signature_def"
# Characters, as in TensorFlow Serving: details travel in a header, and may quote all of an input or of a name.
MOST_DETAILS = 1024


class Refused(Exception):
    """A call ends with this status.

    Attributes:
        code: name of a `grpc.StatusCode`.
        details: for the caller.
    """

    def __init__(self, code: str, details: str):
        self.code, self.details = code, one_line(details, MOST_DETAILS)
        super().__init__(f"{code}: {self.details}")


def _reason(error: Exception) -> str:
    """What a caller may know, on one line; TensorFlow tells where in the server's code it was, too."""
    lines = str(error).splitlines() or [type(error).__name__]
    # Of what fails in a graph the reason stands before the node's name, below a heading.
    nodes = [number for number, line in enumerate(lines) if line.lstrip().startswith("[[{{node")]
    return lines[nodes[0] - 1] if nodes and nodes[0] else lines[0]


def _spec(request):
    if not request.HasField("model_spec") or not request.model_spec.name:
        raise Refused("INVALID_ARGUMENT", "Missing ModelSpec: the request names no model")
    return request.model_spec


def _find(store: ModelStore, request) -> ServedModel:
    spec = _spec(request)
    label = spec.version_label if spec.WhichOneof("version_choice") == "version_label" else None
    try:
        return store.get(spec.name, spec.version.value if spec.HasField("version") else None, label)
    except UnknownLabel as error:
        raise Refused("INVALID_ARGUMENT", str(error)) from error
    except NotServed as error:
        raise Refused("NOT_FOUND", str(error)) from error


def _describe(spec, model: ServedModel, signature: str = "") -> None:
    spec.name = model.name
    spec.version.value = model.version
    spec.signature_name = signature


def _go_on() -> None:
    """A call without deadline is worked on to its end."""


def predict(store: ModelStore, request, *, max_bytes: int = MAX_BYTES, check_wanted: Callable[[], None] = _go_on):
    """Answers a PredictRequest.

    Args:
        max_bytes: of the decoded inputs, and of the answer.
        check_wanted: called between steps of the work; raises `Refused` where nobody waits for the answer any more.

    Raises:
        Refused: nothing can be answered to it.
    """
    return predict_with(_find(store, request), request, max_bytes=max_bytes, check_wanted=check_wanted)


def predict_with(model: ServedModel, request, *, max_bytes: int = MAX_BYTES, check_wanted: Callable[[], None] = _go_on):
    """Answers a PredictRequest by the given model, whichever the request names; raises as `predict`."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signature_defs:
        raise Refused(
            "FAILED_PRECONDITION",
            f'Serving signature key "{name}" not found; the model has {sorted(model.signature_defs)}',
        )
    declared = model.signature_defs[name]
    wanted = list(request.output_filter) or sorted(declared.outputs)
    unknown = sorted(set(wanted) - set(declared.outputs))
    if unknown or len(set(wanted)) < len(wanted):
        raise Refused(
            "INVALID_ARGUMENT",
            f"output_filter: expected each of {sorted(declared.outputs)} at most once, got {wanted}",
        )
    try:
        inputs = decode_inputs(request.inputs, declared, max_bytes)
        rows = bounds.rows(declared, inputs)
        size = bounds.answer_bytes(declared, rows, wanted)
        if size > max_bytes:
            raise TooLarge("answer", size, max_bytes)
    except TooLarge as error:
        raise Refused("RESOURCE_EXHAUSTED", str(error)) from error
    except ValueError as error:
        raise Refused("INVALID_ARGUMENT", str(error)) from error
    try:
        outputs = _outputs(model, name, inputs, rows, check_wanted)
    except Refused:
        raise
    except tf.errors.InvalidArgumentError as error:
        raise Refused("INVALID_ARGUMENT", _reason(error)) from error
    except UnicodeDecodeError as error:
        # TensorFlow's reason quotes an input that is no text, and its Python cannot read it: the code is lost, too.
        raise Refused("INVALID_ARGUMENT", "an input's bytes are not what the signature takes") from error
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise Refused("RESOURCE_EXHAUSTED", _reason(error)) from error
    except Exception as error:
        _LOG.exception("%s version %s, signature %s", model.name, model.version, name)
        raise Refused("INTERNAL", "the model failed; see the server's log") from error
    response = predict_pb2.PredictResponse()
    _describe(response.model_spec, model, name)
    for key in wanted:
        encode(outputs[key], response.outputs[key])
    return response


def _outputs(
    model: ServedModel, signature: str, inputs: Mapping[str, np.ndarray], rows: int | None, check_wanted: Callable
) -> dict[str, np.ndarray]:
    """Outputs of a call that is computed step by step: features of many slices at once would fill the memory."""
    parts: list[Mapping[str, np.ndarray]] = []
    classes = bounds.channels(model.signature_defs[signature])
    for part in bounds.steps(inputs, rows, classes):
        check_wanted()
        parts.append(model.call(signature, part))
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def metadata(store: ModelStore, request):
    """Answers a GetModelMetadataRequest; the one field there is, is `signature_def`.

    Raises:
        Refused: nothing can be answered to it.
    """
    from tensorflow_serving.apis import get_model_metadata_pb2

    model = _find(store, request)
    fields = list(request.metadata_field)
    if not fields:
        raise Refused("INVALID_ARGUMENT", "expected at least one metadata_field")
    for field in fields:
        if field != _METADATA_FIELD:
            raise Refused("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, declared in model.signature_defs.items():
        signatures.signature_def[name].CopyFrom(declared)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    _describe(response.model_spec, model)
    response.metadata[_METADATA_FIELD].Pack(signatures)
    return response


def status(store: ModelStore, request):
    """Answers a GetModelStatusRequest with the named version, or with all that are known.

    Raises:
        Refused: nothing is known of it.
    """
    from tensorflow_serving.apis import get_model_status_pb2

    spec = _spec(request)
    try:
        known = store.versions(spec.name)
        if spec.WhichOneof("version_choice"):
            number = spec.version.value if spec.HasField("version") else _find(store, request).version
            if number not in known:
                raise NotServed(f"Servable not found for request: Specific({spec.name}, {number})")
            known = {number: known[number]}
    except NotServed as error:
        raise Refused("NOT_FOUND", str(error)) from error
    response = get_model_status_pb2.GetModelStatusResponse()
    for number in sorted(known, reverse=True):
        entry = response.model_version_status.add()
        entry.version = number
        entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(known[number].state.name)
        if known[number].error:
            entry.status.error_code = 2  # UNKNOWN, as a failed load has in TensorFlow Serving
            entry.status.error_message = known[number].error
    return response
