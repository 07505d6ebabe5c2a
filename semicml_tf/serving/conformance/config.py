"""The options of `semicml_tf.serving.conformance`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.serving import tls


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Checked:
    address: str = option("127.0.0.1:8500", help="HOST:PORT of the server.")
    model: str = option("ct", help="Name of a model on the server.")
    reference: str | None = option(
        None, help="Local folder of the same model. Its results are compared with the server's results.", path=True
    )
    deadline_s: float = option(60.0, help="Time in seconds for each call.", low=0.1)
    output: str | None = option(None, help="JSON file for the results.", path=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConformanceConfig(tls.ClientTls, _Checked):
    """Options of `semicml_tf.serving.conformance`."""

    def __post_init__(self):
        check(self)
