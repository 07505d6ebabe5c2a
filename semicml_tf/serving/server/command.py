"""Serves exported models over gRPC as TensorFlow Serving does, from one small process.

    python -m semicml_tf.serving.server --models=models/ --port=8500
    python -m semicml_tf.serving.server --models=models/ --model_config_file=serving/models.config

Every subfolder of --models with numbered versions is a model, of which the highest version is served; or those of a
models.config of TensorFlow Serving. A version that is put there while it runs is loaded, warmed up and then served in
place of the former. Answers PredictionService (Predict, GetModelMetadata), ModelService (GetModelStatus) and
grpc.health.v1.Health. Listens on this machine only unless --host says otherwise; encrypted with --tls_certificate.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
import sys
import time
from typing import Any

from absl import flags

from semicml_tf.errors import UserError
from semicml_tf.serving import tls
from semicml_tf.serving.server import malloc
from semicml_tf.serving.server.admission import Admission
from semicml_tf.system import atomic_files, quiet_import

_MIB = 1 << 20
# For answers to be sent that were ready when the time for orderly ends was up.
_LAST_ANSWERS_S = 0.5
_LOG = logging.getLogger("serving")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("models", "models", "Folder of exported models.", flag_values=values)
    flags.DEFINE_string(
        "model_config_file",
        None,
        "TensorFlow Serving's models.config (text form); base paths below /models are below --models.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "file_system_poll_wait_seconds", 1.0, "Time between two looks for new versions.", 0.01, flag_values=values
    )
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.", flag_values=values)
    flags.DEFINE_integer(
        "port", 8500, "Port to listen on; 0 chooses a free one.", lower_bound=0, upper_bound=65535, flag_values=values
    )
    flags.DEFINE_string("port_file", None, "Write the port here once the server listens.", flag_values=values)
    flags.DEFINE_integer(
        "max_message_mib",
        256,
        "Largest request, decoded request and answer in MiB; 0 means gRPC's maximum, 2 GiB, as in TensorFlow Serving.",
        lower_bound=0,
        upper_bound=2047,
        flag_values=values,
    )
    flags.DEFINE_integer("workers", 4, "Requests worked on at once.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "waiting",
        64,
        "Requests that may wait for a worker; further ones are answered RESOURCE_EXHAUSTED at once.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "grace_s", 30.0, "On SIGTERM, time for accepted requests to finish.", lower_bound=0, flag_values=values
    )
    tls.define_server_flags(values)


def _without_those_who_left(record: logging.LogRecord) -> bool:
    # grpc.aio tells with a traceback each time that a client is gone when its answer is sent.
    return not str(record.msg).startswith("ExecuteBatchError raised in core by servicer method")


def _listen(server, host: str, port: int, credentials) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(
            f"cannot listen on {address}",
            remedy="Choose another --port (0 for a free one) or --host"
            + (", and see that certificate and key fit each other" if credentials else ""),
        )
    return bound


def _models(values: flags.FlagValues):
    """What to serve, asked anew at each look: a folder may get more models, a models.config is read once."""
    from semicml_tf.serving.server import model_config

    if values.model_config_file:
        listed = model_config.of_file(values.model_config_file, values.models)
        return lambda: listed
    return lambda: model_config.of_folder(values.models)


@dataclasses.dataclass
class Running:
    """A server that answers; made by `start`.

    Attributes:
        port: that it listens on.
        admission: which calls it works on.
    """

    port: int
    admission: Admission
    _server: Any
    _healthy: Any

    async def stop(self, grace_s: float) -> None:
        """Lets nobody in any more, and gives those that are in so many seconds."""
        # Health checks are told first, so that a balancer sends no more; what was accepted is answered.
        end = time.monotonic() + grace_s
        await self._healthy.enter_graceful_shutdown()
        await self.admission.shut(grace_s)
        await self._server.stop(max(end - time.monotonic(), _LAST_ANSWERS_S))
        await self.admission.close()


async def start(store, values: flags.FlagValues, credentials) -> Running:
    """Listens, as the flags say, for calls of the models of a `ModelStore`.

    Raises:
        UserError: the port is taken.
    """
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    from semicml_tf.serving import bounds
    from semicml_tf.serving.server import prediction_service

    limit = values.max_message_mib * _MIB or -1
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Otherwise two servers on one port would both start, and share its calls at random.
            ("grpc.so_reuseport", 0),
            # A client whose machine went away says no goodbye: it is asked once a minute, and given up 20 s later.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    admission = Admission(values.workers, values.waiting)
    prediction_service.add_to_server(store, server, admission, limit if limit > 0 else bounds.MAX_BYTES)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = _listen(server, values.host, values.port, credentials)
    await server.start()
    for service in ("", *prediction_service.SERVICES):
        await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
    return Running(port, admission, server, healthy)


async def _serve(store, values: flags.FlagValues, credentials) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = await start(store, values, credentials)
    models = ", ".join(f"{name} version {numbers[-1]}" for name, numbers in store.names().items())
    print(f"serving {models} on {values.host}:{running.port}", flush=True)
    if values.port_file:
        atomic_files.write_text(values.port_file, f"{running.port}\n")
    await stop.wait()
    await running.stop(values.grace_s)
    calls = running.admission
    _LOG.info(
        "%d calls of Predict accepted: %d answered, %d whose caller left or was cut off; %d refused for want of room",
        *(calls.accepted, calls.answered, calls.accepted - calls.answered, calls.refused),
    )


def main(values: flags.FlagValues) -> None:
    from semicml_tf.serving.server.model_store import ModelStore
    from semicml_tf.serving.server.version_watch import VersionWatch

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_those_who_left)
    credentials = tls.server_credentials(values)
    malloc.keep_buffers()
    quiet_import.tensorflow()
    store = ModelStore()
    watch = VersionWatch(store, _models(values))
    watch.look()
    if not store.names():
        raise UserError(
            "expected exported models <model>/<version>/saved_model.pb, found none that can be served",
            path=values.model_config_file or values.models,
            remedy="Export a run there with python -m semicml_tf.export",
        )
    watch.start(values.file_system_poll_wait_seconds)
    try:
        asyncio.run(_serve(store, values, credentials))
    finally:
        watch.stop()
    print("stopped", flush=True)
