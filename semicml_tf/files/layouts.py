"""The layouts by name, and which of them a folder has."""

from __future__ import annotations

import pathlib

from semicml_tf.errors import UserError
from semicml_tf.files import brats, csv_manifest, hecktor

LAYOUTS = {layout.NAME: layout for layout in (hecktor, brats, csv_manifest)}
AUTO = "auto"


def choose(name: str, root: pathlib.Path):
    """The layout's module, with its ``find(root, modalities)``.

    Args:
        name: of the layout, or ``auto`` to look at `root`.
        root: folder or file of the source.

    Raises:
        UserError: no such layout or source, or `root` is not of that layout.
    """
    known = "; ".join(f"{layout.NAME} = {layout.DESCRIPTION}" for layout in LAYOUTS.values())
    if name != AUTO and name not in LAYOUTS:
        raise UserError(f"unknown layout '{name}'", remedy=f"Known are {AUTO}; {known}")
    if not root.exists():
        raise UserError("there is no such folder or file to convert", path=root, remedy="Check --input")
    candidates = list(LAYOUTS.values()) if name == AUTO else [LAYOUTS[name]]
    for layout in candidates:
        if layout.detect(root):
            return layout
    if name == AUTO:
        raise UserError("this is none of the known layouts", path=root, remedy=f"Known are {known}")
    raise UserError(
        f"expected the layout {name} ({LAYOUTS[name].DESCRIPTION})", path=root, remedy="Check --input and --layout"
    )
