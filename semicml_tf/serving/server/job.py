"""The job of `semicml_tf.serving.server`: serves exported models over gRPC until the process is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import logging
import signal
import socket
import sys
import time
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.serving import tls
from semicml_tf.serving.server.admission import Admission
from semicml_tf.serving.server.config import ServerConfig
from semicml_tf.system import atomic_files, quiet_import

_MIB = 1 << 20
# Time to send answers that are ready when the grace period ends.
_LAST_ANSWERS_S = 0.5
_LOG = logging.getLogger("serving")
# Options of glibc's mallopt. A batch of slices has 1 to 10 MiB. By itself, glibc does not exceed 32 MiB either.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _KEPT_IN_ALL = 32 * _MIB, 256 * _MIB


def _keep_buffers() -> None:
    """Lets glibc keep freed message buffers, up to a limit, instead of returning them to the system.

    A call of a few MiB passes through about ten buffers. Each new mapping costs a page fault per 4 KiB.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT_IN_ALL)


def _without_lost_clients(record: logging.LogRecord) -> bool:
    # grpc.aio logs a traceback for each client that is gone when its answer is sent.
    return not str(record.msg).startswith("ExecuteBatchError raised in core by servicer method")


def _listen(server, host: str, port: int, credentials) -> int:
    address = _address(host, port)
    with quiet_import.stderr_held_back():  # gRPC logs a line of its own
        try:
            bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
    if not bound:
        raise _cannot_listen(address, ", and see that certificate and key fit each other" if credentials else "")
    return bound


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cannot_listen(address: str, further: str = "") -> UserError:
    return UserError(
        f"cannot listen on {address}", remedy=f"Choose another --port (0 for a free one) or --host{further}"
    )


def check_port(host: str, port: int) -> None:
    """Raises UserError if no address of `host` can be listened on, before the models are loaded."""
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(_address(host, port)) from error
    for family, kind, protocol, _, place in places:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC: a closed port may be used again
            probe.bind(place)
            probe.listen()
            return
    raise _cannot_listen(_address(host, port))


def _models(config: ServerConfig):
    """A function that lists the models to serve: a folder is read each time, a models.config once."""
    from semicml_tf.serving.server import model_config

    if config.model_config_file:
        listed = model_config.of_file(config.model_config_file, config.models)
        return lambda: listed
    return lambda: model_config.of_folder(config.models)


@dataclasses.dataclass
class Running:
    """A running server; made by `start`.

    Attributes:
        port: on which it listens.
        admission: of its calls.
    """

    port: int
    admission: Admission
    _server: Any
    _healthy: Any

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls, and gives the accepted calls `grace_s` seconds."""
        # Health checks fail first, so that a load balancer sends no more calls. Accepted calls are answered.
        end = time.monotonic() + grace_s
        await self._healthy.enter_graceful_shutdown()
        await self.admission.shut(grace_s)
        await self._server.stop(max(end - time.monotonic(), _LAST_ANSWERS_S))
        await self.admission.close()


async def start(store, config: ServerConfig, credentials) -> Running:
    """Listens, as the options say, for calls of the models of a `ModelStore`.

    Raises:
        UserError: the port is taken.
    """
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    from semicml_tf.serving import bounds
    from semicml_tf.serving.server import prediction_service

    limit = config.max_message_mib * _MIB or -1
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Otherwise two servers on one port would both start, and share its calls at random.
            ("grpc.so_reuseport", 0),
            # A client may vanish without closing its connection: it is pinged once a minute, and dropped 20 s later.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    admission = Admission(config.workers, config.waiting)
    prediction_service.add_to_server(store, server, admission, limit if limit > 0 else bounds.MAX_BYTES)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = _listen(server, config.host, config.port, credentials)
    await server.start()
    for service in ("", *prediction_service.SERVICES):
        await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
    return Running(port, admission, server, healthy)


async def _serve(store, config: ServerConfig, credentials) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = await start(store, config, credentials)
    models = ", ".join(f"{name} version {numbers[-1]}" for name, numbers in store.names().items())
    print(f"serving {models} on {config.host}:{running.port}", flush=True)
    if config.port_file:
        atomic_files.write_text(config.port_file, f"{running.port}\n")
    await stop.wait()
    await running.stop(config.grace_s)
    calls = running.admission
    _LOG.info(
        "%d calls of Predict accepted: %d answered, %d whose caller left or was cut off; "
        "%d refused because too many waited",
        *(calls.accepted, calls.answered, calls.accepted - calls.answered, calls.refused),
    )


def serve(config: ServerConfig) -> None:
    """Serves until SIGTERM or Ctrl-C, then finishes the accepted calls.

    Raises:
        UserError: there is no model to serve, or the port is taken.
    """
    from semicml_tf.serving.server.model_store import ModelStore
    from semicml_tf.serving.server.version_watch import VersionWatch

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_lost_clients)
    credentials = tls.server_credentials(config)
    check_port(config.host, config.port)
    _keep_buffers()
    quiet_import.tensorflow()
    store = ModelStore()
    watch = VersionWatch(store, _models(config))
    watch.look()
    if not store.names():
        raise UserError(
            "expected exported models <model>/<version>/saved_model.pb, found none that can be served",
            path=config.model_config_file or config.models,
            remedy="Export a run there with python -m semicml_tf.export",
        )
    watch.start(config.file_system_poll_wait_seconds)
    try:
        asyncio.run(_serve(store, config, credentials))
    finally:
        watch.stop()
    print("stopped", flush=True)
