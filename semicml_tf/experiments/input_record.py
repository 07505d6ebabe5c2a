"""Records of the flags that made an experiment's volumes and datasets, so that other flags do not reuse them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from semicml_tf.configuration import options
from semicml_tf.errors import UserError
from semicml_tf.runs.settings import differences
from semicml_tf.system import atomic_files, json_files


def flags_of(config: Any, *, without: Collection[str]) -> dict[str, Any]:
    """The options that decide what a command makes, by name, as JSON values."""
    values = {one.name: getattr(config, one.name) for one in options(type(config)) if one.name not in without}
    return json.loads(json.dumps(values))


def check_or_note(
    record: pathlib.Path, product: pathlib.Path, now: Mapping[str, Any], config_class: type | None = None
) -> None:
    """Records what `product` will be made with or, if it exists, checks that it was made with the same flags.

    Args:
        record: JSON file of the record.
        product: file that exists once it is made.
        now: flags by name.
        config_class: of the flags: gives the defaults of those that an earlier version did not record.

    Raises:
        UserError: it was made with other flags, or not by an experiment.
    """
    if not product.exists():
        atomic_files.write_json(record, dict(now))
        return
    recorded = json_files.read(
        record,
        dict[str, Any],
        what="a note of what this experiment's data were made with",
        remedy="Choose another --output: its data were not made by an experiment",
    )
    known = {} if config_class is None else {one.name: one for one in options(config_class)}
    recorded = {name: _typed(known.get(name), value) for name, value in recorded.items()}
    defaults = {name: _typed(one, one.default) for name, one in known.items()}
    changed = differences(recorded, {name: _typed(known.get(name), value) for name, value in now.items()}, defaults)
    if changed:
        raise UserError(
            f"these data were made with {'; '.join(changed)}",
            path=product.parent,
            remedy="Give the flags that they were made with, or another --output",
        )


def _typed(one, value: Any) -> Any:
    """A recorded value as its option has it. Earlier versions recorded the numbers of a list as text."""
    if value in (None, "", [], ()):
        return None
    if one is not None and one.is_list and isinstance(value, (list, tuple)):
        return [one.from_text(element) if isinstance(element, str) else element for element in value]
    return list(value) if isinstance(value, tuple) else value
