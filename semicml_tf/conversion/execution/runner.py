"""Where conversion's work on cases runs: on this machine, or on whatever Apache Beam reaches."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.conversion.config import LOCAL_RUNNER as LOCAL
from semicml_tf.conversion.execution.beam_runner import BeamRunner
from semicml_tf.conversion.execution.local_runner import LocalRunner
from semicml_tf.errors import UserError


def choose(name: str, *, workers: int, beam_flags: Sequence[str] = ()) -> LocalRunner | BeamRunner:
    """The runner of a name.

    Args:
        name: ``local``, or one of Beam's, e.g. ``FlinkRunner``.
        workers: number of processes on this machine; Beam's runners have flags of their own for it.
        beam_flags: Beam's flags, passed to Beam unchanged.

    Raises:
        UserError: flags of Beam are given, but no runner of Beam.
    """
    if name != LOCAL:
        return BeamRunner(name, tuple(beam_flags))
    if beam_flags:
        raise UserError(
            f"expected --runner=NAME of an Apache Beam runner with --beam_flag={beam_flags[0]}, got --runner={LOCAL}",
            remedy="Name the runner, e.g. --runner=FlinkRunner, or leave out --beam_flag",
        )
    return LocalRunner(workers)
