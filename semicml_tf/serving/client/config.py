"""The options of `semicml_tf.serving.client`, and those that every client of a server shares."""

from __future__ import annotations

import dataclasses
from typing import Any

from semicml_tf.configuration import option
from semicml_tf.inference.config import SegmentConfig
from semicml_tf.serving import tls

_GROUP = "Calls"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteOptions(tls.ClientTls):
    """How a server is called."""

    deadline_s: float = option(
        120.0, help="Time in seconds for each call, its retries included.", low=0.001, group=_GROUP
    )
    retries: int = option(
        4, help="Further attempts, with backoff, while the server is unavailable.", low=0, group=_GROUP
    )
    parallel: int = option(4, help="Batches of slices in flight at the same time.", low=1, group=_GROUP)
    max_message_mib: float = option(
        64.0,
        help="Largest request in MiB. A larger batch is sent in several requests, as if --batch_size were smaller.",
        low=0.001,
        high=2047,
        group=_GROUP,
    )

    def settings(self) -> dict[str, Any]:
        """The keyword arguments of `RemoteModel`.

        Raises:
            UserError: a certificate's file cannot be read.
        """
        names = ("deadline_s", "retries", "parallel", "max_message_mib")
        return {**{name: getattr(self, name) for name in names}, "credentials": tls.channel_credentials(self)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Served:
    address: str = option("127.0.0.1:8500", help="HOST:PORT of the server.")
    model: str = option(help="Name of the model on the server, e.g. ct.")
    model_version: int | None = option(None, help="Version of the model. The default is the latest.")
    manifest: str | None = option(
        None,
        help="The model's manifest.json or exported folder, for servers that do not send it. By default, the server "
        "is asked.",
        path=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientConfig(RemoteOptions, SegmentConfig, _Served):
    """Options of `semicml_tf.serving.client`."""
