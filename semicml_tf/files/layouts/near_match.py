"""A misnamed file beside the place where one is missed: offered, and taken only where the user says so."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Collection

from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts.modality_names import canonical


def near_match(expected: pathlib.Path, word: str, others: Collection[str]) -> pathlib.Path | None:
    """The one file that can be meant by a missing one; None where there is none, or more than one.

    Args:
        expected: the missing file.
        word: what it is: ``seg``, or a modality's name.
        others: names of the folder's NIfTI files that are nobody's.
    """
    found = [name for name in others if _says(folders.stem(name).lower(), word, expected.parent.name.lower())]
    return expected.parent / found[0] if len(found) == 1 else None


def _says(name: str, word: str, case: str) -> bool:
    words = [part for part in re.split(r"[^a-z0-9]+", name.removeprefix(case)) if part]
    if word == "seg":
        return any(part.startswith("seg") for part in words)
    return any(canonical(part) == word for part in words)
