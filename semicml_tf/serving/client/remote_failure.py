"""What a call to a server can end with, as one line that says what to do."""

from __future__ import annotations

import re

from semicml_tf.errors import UserError
from semicml_tf.serving.terminal_text import one_line

_MIB = 1 << 20


class RemoteFailure(UserError):
    """A server did not do what it was asked for.

    Attributes:
        status: name of the `grpc.StatusCode`; None where the answer itself was not as it should be.
        model: the server's name of the model that was asked.
    """

    def __init__(self, problem: str, *, remedy: str | None = None, status: str | None = None, model: str | None = None):
        super().__init__(problem, remedy=remedy)
        self.status, self.model = status, model


class VersionGone(RemoteFailure):
    """The version of the model that a volume was begun with is not served any more."""


def _mib(size: int) -> str:
    return f"{size / _MIB:.3g} MiB"


def _too_large(where: str, details: str) -> tuple[str, str]:
    # As gRPC says it: "Received message larger than max (1052000 vs. 1048576)".
    numbers = re.search(r"\((\d+) vs\. (\d+)\)", details)
    if not numbers:
        return f"the server at {where} takes no message of this size ({details})", "Lower --max_message_mib"
    got, most = int(numbers[1]), int(numbers[2])
    if "CLIENT" in details:  # gRPC here refused the answer
        return (
            f"expected an answer of at most {_mib(most)} from the server at {where}, got one of {_mib(got)}",
            "Check what answers at this address",
        )
    # Rounded down: what is sent next must fit.
    settle = int(most / _MIB * 1000) / 1000
    return (
        f"the server at {where} takes messages of at most {_mib(most)}, got one of {_mib(got)}",
        f"Pass --max_message_mib={settle:g}, or let the server take more (its own --max_message_mib)",
    )


def of_status(
    status: str, details: str, *, where: str, model: str, version: int | None, deadline_s: float
) -> RemoteFailure:
    """The failure that a gRPC status means.

    Args:
        status: name of the `grpc.StatusCode`.
        details: the server's, or gRPC's own.
        where: the server's address.
        model, version: that were asked for; None means the latest.
        deadline_s: that the call had.
    """
    details = one_line(details)
    which = f"'{model}'" + ("" if version is None else f" version {version}")
    if status == "UNAVAILABLE":
        problem, remedy = (
            f"the server at {where} cannot be reached ({details})",
            "Start it with python -m semicml_tf.serving.server, or correct --address",
        )
    elif status == "NOT_FOUND":
        problem, remedy = (
            f"the server at {where} has no model {which} ({details})",
            "Correct --model, or export that model and start the server again",
        )
    elif status == "DEADLINE_EXCEEDED":
        problem, remedy = (
            f"the server at {where} gave no answer in {deadline_s:g} s",
            "Raise --deadline_s, or lower --parallel or --batch_size",
        )
    elif status == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        problem, remedy = _too_large(where, details)
    elif status == "RESOURCE_EXHAUSTED":
        problem, remedy = (
            f"the server at {where} has too much to do: RESOURCE_EXHAUSTED ({details})",
            "Start again later, or lower --parallel",
        )
    else:
        problem, remedy = (
            f"the server at {where} refused model {which}: {status} ({details})",
            "Check that the server's model and the manifest come from one export",
        )
    return RemoteFailure(problem, remedy=remedy, status=status, model=model)
