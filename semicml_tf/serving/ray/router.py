"""Ray Serve's first deployment: takes calls from its gRPC proxy and hands each to the replicas of the model it names.

Nothing here imports TensorFlow: a replica of it is small and soon there.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping

from semicml_tf.serving.ray.services import SERVICES
from semicml_tf.serving.terminal_text import one_line

# An answer of a model's replica: name of a grpc.StatusCode, details, the message.
Answer = tuple[str, str, bytes]
# Trailing metadata of an answer: the replica that gave it, and its node.
REPLICA_KEY, NODE_KEY = "replica", "node"


class _Message(bytes):
    """Bytes where Ray expects a protocol buffer."""

    def SerializeToString(self) -> bytes:
        return bytes(self)


@functools.cache
def _addressed():
    """A message of which every request of TensorFlow Serving is one, as far as the model's name goes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="semicml_tf/addressed.proto", package="semicml_tf", syntax="proto3")
    spec = file.message_type.add(name="Spec")
    spec.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request = file.message_type.add(name="Addressed")
    request.field.add(
        name="model_spec",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".semicml_tf.Spec",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("semicml_tf.Addressed"))


def named_model(data: bytes) -> str:
    """The model that a request names; empty if none.

    Raises:
        ValueError: the bytes are no message.
    """
    from google.protobuf.message import DecodeError

    try:
        return _addressed().FromString(data).model_spec.name
    except DecodeError as error:
        raise ValueError(f"expected a protocol buffer ({error})") from error


def is_of_this_machine(peer: str) -> bool:
    """Whether gRPC's name of a caller, e.g. ``ipv4:127.0.0.1:50412``, is that of one on this machine."""
    kind, _, address = peer.partition(":")
    if kind == "unix":
        return True
    host = re.sub(r"%5B|%5D|[\[\]]", "", address.rpartition(":")[0], flags=re.IGNORECASE)
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


class Router:
    """The deployment; methods are named as those of the services.

    Args:
        models: `DeploymentHandle` of each model's `ray_model.Replica`s, by its name.
        any_host: whether callers on other machines are answered.
    """

    def __init__(self, models: Mapping, any_host: bool):
        self._models, self._any_host = models, any_host

    async def Predict(self, request: bytes, grpc_context):
        return await self._hand_on("predict", request, grpc_context)

    async def GetModelMetadata(self, request: bytes, grpc_context):
        return await self._hand_on("metadata", request, grpc_context)

    async def GetModelStatus(self, request: bytes, grpc_context):
        return await self._hand_on("status", request, grpc_context)

    async def Check(self, request: bytes, grpc_context):
        """grpc.health.v1: that calls are taken; whether a model answers is told by GetModelStatus."""
        from google.protobuf.message import DecodeError
        from grpc_health.v1 import health_pb2

        self._check_caller(grpc_context)
        try:
            service = health_pb2.HealthCheckRequest.FromString(request).service
        except DecodeError:
            _refuse(grpc_context, "INVALID_ARGUMENT", "expected a HealthCheckRequest")
        if service not in ("", *SERVICES):
            _refuse(grpc_context, "NOT_FOUND", f"no service '{service}'")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def _check_caller(self, context) -> None:
        if not self._any_host and not is_of_this_machine(context.peer()):
            _refuse(context, "PERMISSION_DENIED", "callers on other machines are not answered; see --any_host")

    async def _hand_on(self, method: str, request: bytes, context):
        self._check_caller(context)
        try:
            name = named_model(request)
        except ValueError as error:
            _refuse(context, "INVALID_ARGUMENT", str(error))
        if not name:
            _refuse(context, "INVALID_ARGUMENT", "Missing ModelSpec: the request names no model")
        if name not in self._models:
            _refuse(context, "NOT_FOUND", f"Servable not found for request: Latest({name})")
        code, details, answer, told = await self._ask(getattr(self._models[name], method), request)
        if code != "OK":
            _refuse(context, code, details)
        context.set_trailing_metadata(list(told.items()))
        return _Message(answer)

    async def _ask(self, method, request: bytes):
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import BackPressureError, RayServeException

        try:
            return await method.remote(request)
        except BackPressureError:
            return "RESOURCE_EXHAUSTED", "as many calls as may wait do so already; try again later", b"", {}
        except RayTaskError:
            return "INTERNAL", "the model failed; see the replica's log", b"", {}
        except (RayError, RayServeException) as error:
            # A replica, or its node, that is gone: another one will answer.
            return "UNAVAILABLE", f"the model's replica is gone ({type(error).__name__}); try again", b"", {}


def _refuse(context, code: str, details: str):
    import grpc

    details = one_line(details, 1024)
    context.set_code(grpc.StatusCode[code])
    context.set_details(details)
    # An exception, so that Ray counts the call among those that failed; it takes code and details from the context.
    raise RuntimeError(f"{code}: {details}")
