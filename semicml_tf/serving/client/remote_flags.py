"""The flags of every command that has volumes segmented by a server."""

from __future__ import annotations

from typing import Any

from absl import flags

from semicml_tf.serving import tls


def define_flags(values: flags.FlagValues) -> None:
    """``--deadline_s``, ``--retries``, ``--parallel``, ``--max_message_mib`` and those of `tls.define_client_flags`."""
    flags.DEFINE_float(
        "deadline_s", 120.0, "Time for each call, its retries included.", lower_bound=0.001, flag_values=values
    )
    flags.DEFINE_integer(
        "retries",
        4,
        "Further attempts, with backoff, while the server is unavailable.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_integer("parallel", 4, "Batches of slices under way at once.", lower_bound=1, flag_values=values)
    flags.DEFINE_float(
        "max_message_mib",
        64.0,
        "Largest request in MiB. A batch that is larger is sent in several, as if --batch_size were smaller.",
        lower_bound=0.001,
        upper_bound=2047,
        flag_values=values,
    )
    tls.define_client_flags(values)


def settings(values: flags.FlagValues) -> dict[str, Any]:
    """What the flags say, as `RemoteModel` takes it.

    Raises:
        UserError: a certificate's file lacks.
    """
    return {
        "deadline_s": values.deadline_s,
        "retries": values.retries,
        "parallel": values.parallel,
        "max_message_mib": values.max_message_mib,
        "credentials": tls.channel_credentials(values),
    }
