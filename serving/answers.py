"""TensorFlow Serving's calls as functions of a request and a `ModelStore`, whatever carries them.

The messages are those of tensorflow-serving-api; status codes follow TensorFlow Serving's.
"""

from __future__ import annotations

import logging

from serving.model_store import ModelStore, NotServed, UnknownLabel
from serving.served_model import ServedModel
from serving.tensors import BadTensor, decode_inputs

_LOG = logging.getLogger(__name__)
DEFAULT_SIGNATURE = "serving_default"
_METADATA_FIELD = "signature_def"
# Characters, as in TensorFlow Serving: details travel in a header, and a reason may quote all of an input.
MOST_DETAILS = 1024


class Refused(Exception):
    """A call ends with this status.

    Attributes:
        code: name of a `grpc.StatusCode`.
        details: for the caller.
    """

    def __init__(self, code: str, details: str):
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details


def _reason(error: Exception) -> str:
    """What a caller may know, on one line; TensorFlow tells where in the server's code it was, too."""
    lines = str(error).splitlines() or [type(error).__name__]
    # Of what fails in a graph the reason stands before the node's name, below a heading.
    nodes = [number for number, line in enumerate(lines) if line.lstrip().startswith("[[{{node")]
    line = lines[nodes[0] - 1] if nodes and nodes[0] else lines[0]
    return line[:MOST_DETAILS]


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


def predict(store: ModelStore, request):
    """Answers a PredictRequest.

    Raises:
        Refused: nothing can be answered to it.
    """
    return predict_with(_find(store, request), request)


def predict_with(model: ServedModel, request):
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
        outputs = model.call(name, decode_inputs(request.inputs, declared))
    except (BadTensor, tf.errors.InvalidArgumentError) as error:
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
        # make_tensor_proto writes bytes (tensor_content), many times faster to read than float_val.
        response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
    return response


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
