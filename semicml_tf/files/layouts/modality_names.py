"""Finds the modalities that a user asks for, in any spelling, among those that a layout has."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from semicml_tf.errors import UserError
from semicml_tf.preprocessing.normalisation import canonical


def spelled(name: str, there: Collection[str]) -> str | None:
    """The one of `there` that has this name, else this name in another spelling; None if there are none or several."""
    if name in there:
        return name
    found = [other for other in there if canonical(other) == canonical(name)]
    return found[0] if len(found) == 1 else None


def among(asked: Sequence[str], there: Collection[str], *, layout: str, path: str | os.PathLike) -> dict[str, str]:
    """The modalities asked for, by the name asked with.

    Args:
        asked: names, ours or others'.
        there: names of those that the layout or its folder has.
        layout: its name, for messages.
        path: of the source, likewise.

    Returns:
        The name in `there` by the name asked with.

    Raises:
        UserError: one is not there; one is asked for under two names.
    """
    found: dict[str, str] = {}
    for name in asked:
        ours = spelled(name, there)
        if ours is None:
            raise UserError(
                f"layout {layout} has the modalities {', '.join(there) or '(none)'}, got '{name}'",
                path=path,
                remedy="Check --modalities",
            )
        if ours in found.values():
            raise UserError(
                f"--modalities names '{ours}' twice, also as '{name}'", path=path, remedy="Name each modality once"
            )
        found[name] = ours
    return found
