"""Describes a folder of no known layout, for messages."""

from __future__ import annotations

import collections
import os
import pathlib
from collections.abc import Iterator, Sequence

from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names

_LEVELS = 6
_MOST = 20_000  # largest number of files to count
_KINDS = (".nii.gz", ".nii", ".dcm", ".img", ".hdr", ".mha", ".nrrd", ".png", ".csv", ".json", ".zip", ".tar", ".gz")


def walk(root: pathlib.Path) -> Iterator[tuple[int, pathlib.Path, list[str]]]:
    """Yields level, folder and file names, level by level. Links are followed, and each folder is visited once."""
    seen = {os.path.realpath(root)}
    waiting = collections.deque([(1, root)])
    while waiting:
        level, place = waiting.popleft()
        inner, files = folders.entries(place)
        yield level, place, files
        for name in inner if level < _LEVELS else ():
            real = os.path.realpath(place / name)
            if real not in seen:  # links can lead to a parent folder, or to a folder twice
                seen.add(real)
                waiting.append((level + 1, place / name))


def describe(root: pathlib.Path) -> str:
    """Summary, e.g. ``it holds 412 .nii.gz and 2 .csv files in 3 levels, the first NIfTI file is a/b/c.nii.gz``."""
    counts: collections.Counter[str] = collections.Counter()
    first, deepest = None, 1
    for level, place, files in walk(root):
        for name in files:
            counts[_kind(name)] += 1
            deepest = max(deepest, level)
            if first is None and folders.is_nifti(name):
                first = (place / name).relative_to(root)
        if counts.total() >= _MOST:
            break
    if not counts:
        return "it holds no files"
    most = "more than " if counts.total() >= _MOST else ""
    frequent = sorted(counts.most_common(3), key=lambda pair: pair[0] == "other")
    kinds = " and ".join(f"{count} {kind}" for kind, count in frequent)
    text = f"it holds {most}{kinds} file{'s' if counts.total() != 1 else ''} in {deepest} level{'s' * (deepest > 1)}"
    return text + (f", the first NIfTI file is {first}" if first else "")


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for kind in _KINDS if lower.endswith(kind)), "other")


def inner_layout(root: pathlib.Path, layouts: Sequence) -> tuple[pathlib.Path, str] | None:
    """A folder or manifest in `root`, at most two levels deep, with a known layout; and the layout's name."""
    folders_in, files = folders.entries(root)
    # Manifests come first, because the names of the files that they list may look like another layout.
    places = [root / name for name in files if name.lower().endswith(".csv")]
    inner = [root / name for name in folders_in]
    places += inner
    places += [place / name for place in inner[:20] for name in folders.entries(place)[0][:20]]
    for place in places[:100]:
        for layout in layouts:
            if layout.detect(place):
                return place, layout.NAME
    return None


def looks_like_a_case(root: pathlib.Path) -> bool:
    """Whether `root` seems to be the folder of a single case."""
    names = [folders.stem(name).lower() for name in folders.nifti_files(root)]
    known = {"t1", "t1ce", "t2", "flair", "ct", "pet"}
    ends = {modality_names.canonical(name.replace("-", "_").split("_")[-1]) for name in names}
    return bool(ends & known) and all(name.startswith(root.name.lower()) for name in names)
