"""Checks whether a server speaks TensorFlow Serving's API as this package's models need it.

    python -m semicml_tf.serving.conformance --address=127.0.0.1:8500 --model=ct --reference=models/ct

Works with any server: the embedded one, TensorFlow Serving, others that speak its PredictionService. Prints a line per
check; exit code 1 if one fails.
"""

from __future__ import annotations

import sys

from absl import flags

from semicml_tf.serving import tls
from semicml_tf.serving.conformance import suite
from semicml_tf.system import atomic_files

POSITIONAL = ("address",)


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("address", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=values)
    flags.DEFINE_string("model", "ct", "Name of a model on the server.", flag_values=values)
    flags.DEFINE_string("reference", None, "The same model here, to compare answers with.", flag_values=values)
    flags.DEFINE_float("deadline_s", 60.0, "Time for each call.", lower_bound=0.1, flag_values=values)
    flags.DEFINE_string("output", None, "Also write the results here, as JSON.", flag_values=values)
    tls.define_client_flags(values)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    found = suite.examine(
        values.address,
        values.model,
        reference=values.reference,
        deadline_s=values.deadline_s,
        credentials=tls.channel_credentials(values),
    )
    width = max(len(one["check"]) for one in found)
    for one in found:
        print(f"{one['result']:7}  {one['check']:{width}}  {one['details']}")
    counts = {result: sum(one["result"] == result for one in found) for result in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    if values.output:
        atomic_files.write_json(
            values.output, {"address": values.address, "model": values.model, **counts, "checks": found}
        )
    if counts["failed"]:
        sys.exit(1)
