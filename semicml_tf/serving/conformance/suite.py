"""Runs the conformance checks against a server and collects their results."""

from __future__ import annotations

import time

from semicml_tf.errors import UserError
from semicml_tf.serving.client.channel import open_channel
from semicml_tf.serving.terminal_text import one_line
from semicml_tf.system import quiet_import

# After this number of checks that exceed their deadline, the remaining checks are skipped.
MAX_UNANSWERED = 3


def _reference(path: str):
    from semicml_tf.artefact.manifest import PROBABILITIES
    from semicml_tf.artefact.versions import version_folder
    from semicml_tf.serving.server.served_model import ServedModel

    folder = version_folder(path)
    number = int(folder.name) if folder.name.isdecimal() else 0
    model = ServedModel.open("reference", number, folder)
    return lambda inputs: model.call(PROBABILITIES, inputs)


def check(server) -> list[dict]:
    """Runs all checks on a `Server`.

    Returns:
        One dict per check: ``check`` (the title), ``result`` (passed, failed or skipped), ``details``, ``seconds``.
    """
    import grpc

    from semicml_tf.serving.conformance.checks import all_checks
    from semicml_tf.serving.conformance.server import Failed, Skipped

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
        except Exception as error:  # a hostile response may raise any error, which then is the result
            result, details = "failed", f"{type(error).__name__}: {error}"
        seconds, details = time.perf_counter() - begin, one_line(details)
        found.append({"check": title, "result": result, "details": details, "seconds": round(seconds, 3)})
    reason = f"{unanswered} checks exceeded their deadline"
    return [*found, {"check": "the remaining checks", "result": "skipped", "details": reason, "seconds": 0.0}]


def examine(
    address: str, model: str, *, reference: str | None = None, deadline_s: float = 60.0, credentials=None
) -> list[dict]:
    """Connects to a server and runs all checks on it; returns the result of `check`.

    Args:
        address: ``HOST:PORT`` of the server.
        model: name of a served model.
        reference: local folder of the same model.
        deadline_s: time limit of each call, in seconds.
        credentials: credentials of the channel. Without them, the channel is not encrypted.

    Raises:
        UserError: the server cannot be reached.
    """
    import grpc

    quiet_import.tensorflow()
    from semicml_tf.serving.conformance.server import Server

    call = _reference(reference) if reference else None
    with open_channel(address, credentials) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=min(deadline_s, 20))
        except grpc.FutureTimeoutError as error:
            raise UserError(
                f"the server at {address} cannot be reached", remedy="Start the server, or correct --address"
            ) from error
        return check(Server(channel, model, deadline_s, call))
