"""Checks that a server implements TensorFlow Serving's API as this package's models need it.

  python -m semicml_tf.serving.conformance --address=127.0.0.1:8500 --model=ct --reference=models/ct

The command works with any server of this API: the package's own server, TensorFlow Serving, and others. It prints one
line per check. The exit code is 1 if a check fails.
"""

from __future__ import annotations

import dataclasses
import sys

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


CONFIG = ConformanceConfig
POSITIONAL = ("address",)


def main(config: ConformanceConfig) -> None:
    """Runs the checks and prints their results."""
    from semicml_tf.serving.conformance import suite
    from semicml_tf.system import atomic_files

    credentials = tls.channel_credentials(config)
    found = suite.examine(
        config.address,
        config.model,
        reference=config.reference,
        deadline_s=config.deadline_s,
        credentials=credentials,
    )
    width = max(len(one["check"]) for one in found)
    for one in found:
        print(f"{one['result']:7}  {one['check']:{width}}  {one['details']}")
    counts = {result: sum(one["result"] == result for one in found) for result in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    if config.output:
        atomic_files.write_json(
            config.output, {"address": config.address, "model": config.model, **counts, "checks": found}
        )
    if counts["failed"]:
        sys.exit(1)
