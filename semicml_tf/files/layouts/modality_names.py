"""Finds the modalities that a user names, in any spelling, among those of a layout."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from semicml_tf.errors import UserError
from semicml_tf.preprocessing.normalisation import canonical


def spelled(name: str, available: Collection[str]) -> str | None:
    """`name` if it is in `available`, else its only other spelling there; None without a unique match."""
    if name in available:
        return name
    matches = [other for other in available if canonical(other) == canonical(name)]
    return matches[0] if len(matches) == 1 else None


def among(asked: Sequence[str], available: Collection[str], *, layout: str, path: str | os.PathLike) -> dict[str, str]:
    """Matches the user's names of modalities with those of a layout.

    Args:
        asked: the user's names, in any spelling.
        available: names of the modalities of the layout or its folder.
        layout: name of the layout, for messages.
        path: path of the source, for messages.

    Returns:
        The name in `available` by the name in `asked`.

    Raises:
        UserError: a modality does not exist, or has two names in `asked`.
    """
    names: dict[str, str] = {}
    for name in asked:
        ours = spelled(name, available)
        if ours is None:
            raise UserError(
                f"layout {layout} has the modalities {', '.join(available) or '(none)'}, got '{name}'",
                path=path,
                remedy="Check --modalities",
            )
        if ours in names.values():
            raise UserError(
                f"--modalities names '{ours}' twice, also as '{name}'", path=path, remedy="Name each modality once"
            )
        names[name] = ours
    return names
