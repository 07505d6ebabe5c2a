"""TensorFlow Serving's PredictionService and ModelService, answered from a `ModelStore`.

The messages are those of tensorflow-serving-api; status codes follow TensorFlow Serving's.
"""

from __future__ import annotations

import logging

from serving.model_store import ModelStore, NotServed, ServedModel
from serving.tensors import BadTensor, decode_inputs

_LOG = logging.getLogger(__name__)
DEFAULT_SIGNATURE = "serving_default"
_METADATA_FIELD = "signature_def"


def _find(store: ModelStore, request, context) -> ServedModel:
    """The model that a request names; ends the call if there is none."""
    import grpc

    if not request.HasField("model_spec") or not request.model_spec.name:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec: the request names no model")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}")
    try:
        return store.get(spec.name, spec.version.value if spec.HasField("version") else None)
    except NotServed as error:
        context.abort(grpc.StatusCode.NOT_FOUND, str(error))


def _describe(spec, model: ServedModel, signature: str = "") -> None:
    spec.name = model.name
    spec.version.value = model.version
    spec.signature_name = signature


class Predictions:
    """Implements PredictionService: Predict and GetModelMetadata; the other calls are UNIMPLEMENTED."""

    def __init__(self, store: ModelStore):
        self._store = store

    def predict(self, request, context):
        """Answers a PredictRequest."""
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        model = _find(self._store, request, context)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in model.signature_defs:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found; the model has {sorted(model.signature_defs)}',
            )
        declared = model.signature_defs[name]
        wanted = list(request.output_filter) or sorted(declared.outputs)
        unknown = sorted(set(wanted) - set(declared.outputs))
        if unknown or len(set(wanted)) < len(wanted):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"output_filter: expected each of {sorted(declared.outputs)} at most once, got {wanted}",
            )
        try:
            outputs = model.call(name, decode_inputs(request.inputs, declared))
        except (BadTensor, tf.errors.InvalidArgumentError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except tf.errors.ResourceExhaustedError as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except Exception:
            _LOG.exception("%s version %s, signature %s", model.name, model.version, name)
            context.abort(grpc.StatusCode.INTERNAL, "the model failed; see the server's log")
        response = predict_pb2.PredictResponse()
        _describe(response.model_spec, model, name)
        for key in wanted:
            # make_tensor_proto writes bytes (tensor_content), many times faster to read than float_val.
            response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
        return response

    def metadata(self, request, context):
        """Answers a GetModelMetadataRequest; the one field there is, is `signature_def`."""
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2

        model = _find(self._store, request, context)
        fields = list(request.metadata_field)
        if not fields:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "expected at least one metadata_field")
        for field in fields:
            if field != _METADATA_FIELD:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, declared in model.signature_defs.items():
            signatures.signature_def[name].CopyFrom(declared)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _describe(response.model_spec, model)
        response.metadata[_METADATA_FIELD].Pack(signatures)
        return response


class Statuses:
    """Implements ModelService: GetModelStatus; the other calls are UNIMPLEMENTED."""

    def __init__(self, store: ModelStore):
        self._store = store

    def status(self, request, context):
        """Answers a GetModelStatusRequest with the named version, or with all."""
        from tensorflow_serving.apis import get_model_status_pb2

        found = _find(self._store, request, context)
        whole = {found.version: found} if request.model_spec.HasField("version") else self._store.versions(found.name)
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(whole, reverse=True):
            entry = response.model_version_status.add()
            entry.version = number
            entry.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return response


def add_to_server(store: ModelStore, server) -> None:
    """Registers both services with a `grpc.Server`."""
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

    # Subclassed here and not at the top: the base classes come with an import of TensorFlow.
    class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
        def __init__(self):
            self.Predict = predictions.predict
            self.GetModelMetadata = predictions.metadata

    class ModelService(model_service_pb2_grpc.ModelServiceServicer):
        def __init__(self):
            self.GetModelStatus = statuses.status

    predictions, statuses = Predictions(store), Statuses(store)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(), server)
