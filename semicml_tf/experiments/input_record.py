"""Records the flags that made an experiment's volumes and datasets, so that other flags do not reuse them."""

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
    """The options that affect the output of a command, by name, as JSON values."""
    values = {field.name: getattr(config, field.name) for field in options(type(config)) if field.name not in without}
    return json.loads(json.dumps(values))


def check_or_note(
    record: pathlib.Path, product: pathlib.Path, now: Mapping[str, Any], config_class: type | None = None
) -> None:
    """Records the flags of `product` or, if `product` exists, checks that it was made with the same flags.

    Args:
        record: JSON file of the record.
        product: file that exists once the data are made.
        now: flags by name.
        config_class: of the flags. Its defaults replace flags that an earlier version did not record.

    Raises:
        UserError: the data were made with other flags, or not by an experiment.
    """
    if not product.exists():
        atomic_files.write_json(record, dict(now))
        return
    recorded = json_files.read(
        record,
        dict[str, Any],
        what="the flags that made this experiment's data",
        remedy="Choose another --output. The data were not made by an experiment",
    )
    known = {} if config_class is None else {field.name: field for field in options(config_class)}
    recorded = {name: _typed(known.get(name), value) for name, value in recorded.items()}
    defaults = {name: _typed(field, field.default) for name, field in known.items()}
    changed = differences(recorded, {name: _typed(known.get(name), value) for name, value in now.items()}, defaults)
    if changed:
        raise UserError(
            f"these data were made with {'; '.join(changed)}",
            path=product.parent,
            remedy="Pass the same flags, or another --output",
        )


def _typed(field, value: Any) -> Any:
    """Converts a recorded value to the type of its option. Earlier versions recorded the numbers of a list as text."""
    if value in (None, "", [], ()):
        return None
    if field is not None and field.is_list and isinstance(value, (list, tuple)):
        return [field.from_text(element) if isinstance(element, str) else element for element in value]
    return list(value) if isinstance(value, tuple) else value
