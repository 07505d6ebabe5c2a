"""The methods that Ray Serve's gRPC proxy takes: TensorFlow Serving's and grpc.health.v1's, as bytes.

tensorflow-serving-api's own functions of these names would decode every message in the proxy, and import TensorFlow
there: half a gigabyte and many seconds on each node. On the wire there is no difference.
"""

from __future__ import annotations

import grpc

# Import paths, as Ray takes them (gRPCOptions.grpc_servicer_functions).
FUNCTIONS = tuple(
    f"{__name__}.add_{name}_to_server"
    for name in ("PredictionServiceServicer", "ModelServiceServicer", "HealthServicer")
)
SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


def _add(server, service: str, methods: tuple[str, ...]) -> None:
    def never(request, context):
        raise NotImplementedError("Ray Serve puts its own handler in the place of this one")

    handlers = {method: grpc.unary_unary_rpc_method_handler(never) for method in methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))


def add_PredictionServiceServicer_to_server(servicer, server) -> None:
    """Predict and GetModelMetadata; the rest of the service is UNIMPLEMENTED."""
    _add(server, SERVICES[0], ("Predict", "GetModelMetadata"))


def add_ModelServiceServicer_to_server(servicer, server) -> None:
    """GetModelStatus; the rest of the service is UNIMPLEMENTED."""
    _add(server, SERVICES[1], ("GetModelStatus",))


def add_HealthServicer_to_server(servicer, server) -> None:
    """Check; Watch is UNIMPLEMENTED."""
    _add(server, "grpc.health.v1.Health", ("Check",))
