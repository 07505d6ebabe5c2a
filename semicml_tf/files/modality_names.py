"""Our names of the modalities, and what else they are called: t1, t1ce, t2, flair, ct, pet, mr."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from semicml_tf.errors import UserError

_SYNONYMS = {
    "t1n": "t1",
    "t1w": "t1",
    "t1c": "t1ce",
    "t1gd": "t1ce",
    "t1wce": "t1ce",
    "t1post": "t1ce",
    "t2w": "t2",
    "t2f": "flair",
    "t2flair": "flair",
    "pt": "pet",
    "suv": "pet",
    "cect": "ct",
    "mri": "mr",
}
# Their names decide on the default normalisation (HU, SUV), so under another name they would be treated as MR.
_BY_ONE_NAME = ("ct", "pet")


def canonical(name: str) -> str:
    """Our name of a modality; one that has none here is only lower-cased, with what is no letter or digit as _."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name.strip().lower()).strip("_")
    return _SYNONYMS.get(plain.replace("_", ""), plain)


def among(asked: Sequence[str], there: Collection[str], *, layout: str, path: str | os.PathLike) -> dict[str, str]:
    """The modalities asked for, by the name asked with.

    Args:
        asked: names, ours or others'.
        there: our names of those that the layout or its folder has.
        layout: its name, for messages.
        path: of the source, likewise.

    Returns:
        Our name by the name asked with.

    Raises:
        UserError: one is not there; one is asked for under two names; a CT or PET under another name than ours.
    """
    found: dict[str, str] = {}
    for name in asked:
        ours = name if name in there else canonical(name)
        if ours not in there or (ours != name and ours in _BY_ONE_NAME):
            instead = f"Call it '{ours}' in --modalities" if ours in there else "Check --modalities"
            raise UserError(
                f"layout {layout} has the modalities {', '.join(there) or '(none)'}, got '{name}'",
                path=path,
                remedy=instead,
            )
        if ours in found.values():
            raise UserError(
                f"--modalities names '{ours}' twice, also as '{name}'", path=path, remedy="Name each modality once"
            )
        found[name] = ours
    return found
