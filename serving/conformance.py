"""Checks whether a server speaks TensorFlow Serving's API as this package's models need it.

    python -m serving.conformance --address=127.0.0.1:8500 --model=ct --reference=models/ct

Works with any server: the embedded one, TensorFlow Serving, others that speak its PredictionService. Prints a line per
check; exit code 1 if one fails.
"""

from __future__ import annotations

import sys
import time

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, quiet_import
from serving import tls
from serving.channel import open_channel
from serving.terminal_text import one_line

POSITIONAL = ("address",)
# Checks that end with their deadline; after so many the server is not asked any more.
MAX_UNANSWERED = 3


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("address", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=values)
    flags.DEFINE_string("model", "ct", "Name of a model on the server.", flag_values=values)
    flags.DEFINE_string("reference", None, "The same model here, to compare answers with.", flag_values=values)
    flags.DEFINE_float("deadline_s", 60.0, "Time for each call.", lower_bound=0.1, flag_values=values)
    flags.DEFINE_string("output", None, "Also write the results here, as JSON.", flag_values=values)
    tls.define_client_flags(values)


def _reference(path: str):
    from semicml_tf.artefact.manifest import PROBABILITIES
    from semicml_tf.artefact.versions import version_folder
    from serving.served_model import ServedModel

    folder = version_folder(path)
    number = int(folder.name) if folder.name.isdecimal() else 0
    model = ServedModel.open("reference", number, folder)
    return lambda inputs: model.call(PROBABILITIES, inputs)


def check(server) -> list[dict]:
    """Runs all checks; returns ``check``, ``result`` (passed, failed or skipped), ``details``, ``seconds`` of each."""
    import grpc

    from serving.conformance_checks import all_checks
    from serving.conformance_server import Failed, Skipped

    found = []
    checks, unanswered = iter(all_checks(server)), 0
    while unanswered < MAX_UNANSWERED:
        begin, title = time.perf_counter(), "the server answers"
        try:
            title, run = next(checks)
            result, details = "passed", run()
        except StopIteration:
            return found
        except Skipped as error:
            result, details = "skipped", str(error)
        except Failed as error:
            result, details = "failed", str(error)
        except grpc.RpcError as error:
            unanswered += error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            result, details = "failed", f"{error.code().name} ({error.details() or ''})"
        except Exception as error:  # what a server answers may break anything: that is a finding, too
            result, details = "failed", f"{type(error).__name__}: {error}"
        seconds, details = time.perf_counter() - begin, one_line(details)
        found.append({"check": title, "result": result, "details": details, "seconds": round(seconds, 3)})
    reason = f"{unanswered} checks had no answer within their deadline"
    return [*found, {"check": "the other checks", "result": "skipped", "details": reason, "seconds": 0.0}]


def examine(
    address: str, model: str, *, reference: str | None = None, deadline_s: float = 60.0, credentials=None
) -> list[dict]:
    """Runs all checks on a server; returns what `check` does.

    Args:
        address: ``HOST:PORT``.
        model: name of a model that it serves.
        reference: folder of the same model here.
        deadline_s: for each call.
        credentials: of the channel; none: not encrypted.

    Raises:
        UserError: the server cannot be reached.
    """
    import grpc

    quiet_import.tensorflow()
    from serving.conformance_server import Server

    call = _reference(reference) if reference else None
    with open_channel(address, credentials) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=min(deadline_s, 20))
        except grpc.FutureTimeoutError as error:
            raise UserError(
                f"the server at {address} cannot be reached", remedy="Start it, or correct --address"
            ) from error
        return check(Server(channel, model, deadline_s, call))


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    found = examine(
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


if __name__ == "__main__":
    commandline.run("serving.conformance")
