"""What an experiment's volumes and datasets were made with, so that none is taken for what other flags would make."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from absl import flags

from semicml_tf.errors import UserError
from semicml_tf.experiments.study import differences
from semicml_tf.system import atomic_files, json_files


def flags_of(values: flags.FlagValues, *, without: Collection[str]) -> dict[str, Any]:
    """Flags by name that decide what a command makes."""
    return {name: value for name, value in values.flag_values_dict().items() if name not in without}


def defaults_of(values: flags.FlagValues) -> dict[str, Any]:
    """The defaults of all flags by name."""
    return {name: values[name].default for name in values}


def check_or_note(
    record: pathlib.Path, product: pathlib.Path, now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Notes what `product` will be made with or, where it is there, checks that it was made so.

    Args:
        record: JSON file of the note.
        product: file that is there once it is made.
        now: flags by name.
        defaults: of flags, for those that a record of an earlier version does not hold.

    Raises:
        UserError: it was made with other flags, or not by an experiment.
    """
    if not product.exists():
        atomic_files.write_json(record, dict(now))
        return
    held = json_files.read(
        record,
        dict[str, Any],
        what="a note of what this experiment's data were made with",
        remedy="Choose another --output: its data were not made by an experiment",
    )
    changed = differences(held, now, defaults)
    if changed:
        raise UserError(
            f"these data were made with {'; '.join(changed)}",
            path=product.parent,
            remedy="Give what they were made with, or another --output",
        )
