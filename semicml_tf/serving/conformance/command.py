"""Checks that a server implements TensorFlow Serving's API as this package's models need it.

  python -m semicml_tf.serving.conformance --address=127.0.0.1:8500 --model=ct --reference=models/ct

The command works with any server of this API: the package's own server, TensorFlow Serving, and others. It prints one
line per check. The exit code is 1 if a check fails.
"""

from __future__ import annotations

import sys

from semicml_tf.serving.conformance.config import ConformanceConfig

CONFIG = ConformanceConfig
POSITIONAL = ("address",)


def main(config: ConformanceConfig) -> None:
    """Runs the checks and prints their results."""
    from semicml_tf.serving import tls
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
