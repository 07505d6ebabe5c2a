"""Cases in deliveries: a folder with ``span-1``, ``span-2``, ..., each of which has one of the layouts."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import catalogue, csv_manifest
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.layouts.summary import Oddity

_NAME = re.compile(r"span-(\d+)")


def spans(root: str | os.PathLike) -> dict[int, pathlib.Path]:
    """Folders of the deliveries by number, in order.

    Raises:
        UserError: two folders have the same number (``span-1`` and ``span-01``).
    """
    folder_of: dict[int, pathlib.Path] = {}
    for name in folders.entries(pathlib.Path(root))[0]:
        match = _NAME.fullmatch(name)
        if not match:
            continue
        number, folder = int(match[1]), pathlib.Path(root) / name
        if number in folder_of:
            raise UserError(
                f"this and {folder_of[number].name} are both delivery {number}",
                path=folder,
                remedy="Rename one of them",
            )
        folder_of[number] = folder
    return dict(sorted(folder_of.items()))


def is_there(root: pathlib.Path) -> bool:
    """Whether `root` is a folder of deliveries."""
    return os.path.isdir(root) and any(_NAME.fullmatch(name) for name in folders.entries(root)[0])


@dataclasses.dataclass(frozen=True)
class Deliveries:
    """A folder of deliveries as a layout; see `files.layouts.catalogue.choose` for what a layout has.

    Attributes:
        parts: folder (or manifest) and layout of each delivery that is read, by its number, in order.
        replace: whether a repeated case replaces the earlier one. Otherwise it is an error.
    """

    parts: Mapping[int, tuple[pathlib.Path, Any]]
    replace: bool = False

    @property
    def NAME(self) -> str:
        """The name of the layout, or of all layouts if the deliveries have different ones."""
        return "+".join(dict.fromkeys(layout.NAME for _, layout in self.parts.values()))

    def holds_patient_names(self, root: pathlib.Path) -> bool:
        """Whether the layout of a delivery has files with names of patients."""
        return any(
            layout.holds_patient_names(folder)
            for folder, layout in self.parts.values()
            if hasattr(layout, "holds_patient_names")
        )

    def modalities(self, root: pathlib.Path) -> tuple[str, ...]:
        """Names of the modalities that at least one case has."""
        return tuple(
            dict.fromkeys(name for folder, layout in self.parts.values() for name in layout.modalities(folder))
        )

    def describe(self, root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
        """What the folder contains, in one sentence; raises as `find`."""
        return ". ".join(
            f"delivery {number}: {layout.describe(folder, options)}" for number, (folder, layout) in self.parts.items()
        )

    def oddities(self, root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[Oddity]:
        """Files that no case of a delivery claims, and similar problems; see `catalogue.choose`."""
        parts = [part for part in self.parts.values() if hasattr(part[1], "oddities")]
        return [oddity for folder, layout in parts for oddity in layout.oddities(folder, asked, options)]

    def find(self, root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
        """Lists the cases of all deliveries, sorted by name.

        Raises:
            UserError: a layout raises it, or a case is repeated without `replace`.
        """
        cases: dict[str, CaseFiles] = {}
        for number, (folder, layout) in self.parts.items():
            for case in layout.find(folder, modalities, options):
                before = cases[case.case_id].spans if case.case_id in cases else ()
                if before and not self.replace:
                    raise UserError(
                        f"case {case.case_id} is in delivery {before[-1]} and again in delivery {number}",
                        path=folder,
                        remedy="Remove it from one of them, or pass --repeated_cases=replace to use the newer one",
                    )
                cases[case.case_id] = dataclasses.replace(case, spans=(*before, number))
        return [cases[name] for name in sorted(cases)]


def choose(root: pathlib.Path, name: str = catalogue.AUTO, *, span: int | None = None, replace: bool = False):
    """The deliveries up to number `span`.

    Args:
        root: the folder of the deliveries.
        name: name of the layout of all deliveries, or ``auto`` to recognise each.
        span: number of the last delivery that is read; None = the newest.
        replace: whether a repeated case replaces the earlier one. Otherwise it is an error.

    Raises:
        UserError: there is no such delivery, or the layout of a delivery is unknown.
    """
    existing = spans(root)
    if span is not None and span not in existing:
        raise UserError(
            f"expected delivery {span}, got {', '.join(folder.name for folder in existing.values())}",
            path=root,
            remedy="Correct --span",
        )
    roots = {number: _root(folder, name) for number, folder in existing.items() if span is None or number <= span}
    return Deliveries({number: (root, catalogue.choose(name, root)) for number, root in roots.items()}, replace)


def _root(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The source of a delivery: its folder, or the only CSV manifest in it."""
    manifests = [file for file in folders.entries(folder)[1] if file.lower().endswith(".csv")]
    if len(manifests) == 1 and (
        name == csv_manifest.NAME or (name == catalogue.AUTO and not catalogue.detected(folder))
    ):
        return folder / manifests[0]
    return folder
