"""The layouts by name, and the recognition of a folder's layout."""

from __future__ import annotations

import importlib
import os
import pathlib

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import dataset_json, diagnose
from semicml_tf.files.layouts.names import AUTO, PLACES


def _loaded(place: str):
    module, _, name = place.partition(":")
    layout = importlib.import_module(f"{__package__}.{module}")
    return getattr(layout, name) if name else layout


LAYOUTS = {name: _loaded(place) for name, place in PLACES.items()}
# Most layouts are recognised by the names of files and folders. DICOM is recognised by the content of files, and is
# tried last, because the DICOM files are often kept next to the images that were made from them.
_BY_CONTENT = tuple(layout for layout in LAYOUTS.values() if getattr(layout, "BY_CONTENT", False))
_BY_NAMES = tuple(layout for layout in LAYOUTS.values() if layout not in _BY_CONTENT)


def detected(root: pathlib.Path) -> list[str]:
    """Names of the layouts of `root`: usually one; none if the layout is unknown, several if data sets are mixed."""
    for group in (_BY_NAMES, _BY_CONTENT):
        names = [layout.NAME for layout in group if layout.detect(root)]
        if names:
            return names
    return []


def choose(name: str, root: pathlib.Path):
    """The layout of a source: a module, or an object if two layouts differ in names only.

    A layout has ``NAME`` and ``DESCRIPTION``, and ``detect(root)``, ``modalities(root)``, ``describe(root, options)``
    and ``find(root, modalities, options)``. It may have ``oddities(root, modalities, options)``, which returns
    `summary.Oddity` for files of no case, and ``FIXED_NAMES``: names of folders and files that are the same in all data
    sets, and that messages may therefore show.

    Args:
        name: name of the layout, or ``auto`` to recognise it.
        root: folder or file of the source.

    Raises:
        UserError: there is no such layout or source, or `root` has another layout, none, or several.
    """
    known = "; ".join(f"{layout.NAME} = {layout.DESCRIPTION}" for layout in LAYOUTS.values())
    if name != AUTO and name not in LAYOUTS:
        raise UserError(f"unknown layout '{name}'", remedy=f"Known are {AUTO}; {known}")
    if not os.path.exists(root):
        raise UserError("there is no such folder or file to convert", path=root, remedy="Check --input")
    if name == AUTO:
        names = detected(root)
        if len(names) == 1:
            return LAYOUTS[names[0]]
        if names:
            raise UserError(
                f"expected one layout, got {' and '.join(names)}",
                path=root,
                remedy=f"Choose one: --layout={names[0]} or --layout={names[1]}",
            )
    elif LAYOUTS[name].detect(root):
        return LAYOUTS[name]
    expected = "this is none of the known layouts" if name == AUTO else f"expected the layout {name}"
    likely = _likely_content(root)
    if likely:
        raise UserError(f"{expected}: {likely[0]}", path=root, remedy=likely[1])
    listed = f"Known are {known}" if name == AUTO else f"The layout is {LAYOUTS[name].DESCRIPTION}"
    raise UserError(
        f"{expected}: {diagnose.describe(root)}",
        path=root,
        remedy=f"Check --input, or name each case's files in a CSV manifest. {listed}",
    )


def _likely_content(root: pathlib.Path) -> tuple[str, str] | None:
    """What `root` seems to be instead, and the remedy."""
    if root.is_file():
        return "it is a file", "Pass its folder, or a CSV manifest"
    if others := detected(root):
        return f"this is {' or '.join(others)}", f"Pass --layout={others[0]}"
    if inner := diagnose.inner_layout(root, _BY_NAMES):
        return f"its {inner[0].relative_to(root)} has the layout {inner[1]}", f"Pass --input={inner[0]}"
    if diagnose.looks_like_a_case(root):
        return "it seems to be one case", f"Pass the folder of all cases: --input={root.absolute().parent}"
    if dataset_json.has_channel_files(root):
        return (
            f"its files have names as in nnU-Net, but no {dataset_json.FILE_NAME} names the channels",
            'Add one: {"channel_names": {"0": "CT", "1": "PET"}, "file_ending": ".nii.gz"}',
        )
    return None
