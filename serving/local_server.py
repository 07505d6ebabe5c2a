"""Serves exported models over gRPC as TensorFlow Serving does, from one small process.

    python -m serving.local_server --models=models/ --port=8500

Every subfolder of --models with numbered versions is a model; its highest version is served. Answers
PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus). Not encrypted and open to
whoever reaches the port: it listens on this machine only unless --host says otherwise.
"""

from __future__ import annotations

import concurrent.futures
import logging
import signal
import sys
import threading

from absl import flags

from semicml_tf import atomic, commandline, quiet_import
from semicml_tf.errors import UserError

_MIB = 1 << 20


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("models", "models", "Folder of exported models.", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.", flag_values=values)
    flags.DEFINE_integer(
        "port", 8500, "Port to listen on; 0 chooses a free one.", lower_bound=0, upper_bound=65535, flag_values=values
    )
    flags.DEFINE_string("port_file", None, "Write the port here once the server listens.", flag_values=values)
    flags.DEFINE_integer(
        "max_message_mib",
        0,
        "Largest request and answer in MiB; 0 means gRPC's maximum, as in TensorFlow Serving.",
        lower_bound=0,
        upper_bound=2047,
        flag_values=values,
    )
    flags.DEFINE_integer("workers", 4, "Requests worked on at once.", lower_bound=1, flag_values=values)
    flags.DEFINE_float(
        "grace_s", 30.0, "On SIGTERM, time for accepted requests to finish.", lower_bound=0, flag_values=values
    )


def start(store, *, host: str, port: int, max_message_mib: int = 0, workers: int = 4):
    """Starts a server in this process.

    Args:
        store: `ModelStore` to serve.
        port: 0 chooses a free one.
        max_message_mib: 0 means gRPC's maximum.

    Returns:
        The started `grpc.Server` and its port.

    Raises:
        UserError: the address cannot be listened on.
    """
    import grpc

    from serving import prediction_service

    limit = max_message_mib * _MIB or -1
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=workers),
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Otherwise two servers on one port would both start, and share its calls at random.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service.add_to_server(store, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise UserError(f"cannot listen on {address}", remedy="Choose another --port (0 for a free one) or --host")
    server.start()
    return server, bound


def main(values: flags.FlagValues) -> None:
    from serving.model_store import ModelStore

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    quiet_import.tensorflow()
    store = ModelStore.open(values.models)
    server, port = start(
        store,
        host=values.host,
        port=values.port,
        max_message_mib=values.max_message_mib,
        workers=values.workers,
    )
    models = ", ".join(f"{name} version {numbers[-1]}" for name, numbers in store.names().items())
    print(f"serving {models} on {values.host}:{port}", flush=True)
    try:
        if values.port_file:
            atomic.write_text(values.port_file, f"{port}\n")
        # In short waits: a signal's handler runs only when the main thread comes up from its wait.
        while not stop.wait(0.5):
            pass
    finally:
        server.stop(values.grace_s).wait()
    print("stopped", flush=True)


if __name__ == "__main__":
    commandline.run("serving.local_server")
