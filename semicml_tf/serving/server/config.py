"""The options of `semicml_tf.serving.server`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.serving import tls


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig(tls.ServerTls):
    """Options of `semicml_tf.serving.server`."""

    models: str = option("models", help="Folder of exported models.", path=True)
    model_config_file: str | None = option(
        None,
        help="TensorFlow Serving's models.config (text form). Base paths below /models are below --models.",
        path=True,
    )
    file_system_poll_wait_seconds: float = option(1.0, help="Time between two looks for new versions.", low=0.01)
    host: str = option("127.0.0.1", help="Address to listen on.")
    port: int = option(8500, help="Port to listen on. 0 chooses a free port.", low=0, high=65535)
    port_file: str | None = option(None, help="File for the port; written once the server listens.", path=True)
    max_message_mib: int = option(
        256,
        help="Largest request, decoded request and answer in MiB. 0 means gRPC's maximum, 2 GiB, as in TensorFlow "
        "Serving.",
        low=0,
        high=2047,
    )
    workers: int = option(4, help="Requests that are computed at the same time.", low=1)
    waiting: int = option(
        64, help="Requests that may wait for a worker. Further requests are answered RESOURCE_EXHAUSTED at once.", low=0
    )
    grace_s: float = option(30.0, help="Time in seconds for accepted requests to finish after SIGTERM.", low=0)

    def __post_init__(self):
        check(self)
