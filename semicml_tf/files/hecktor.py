"""The layout of HECKTOR 2022: ``imagesTr/CASE__CT.nii.gz``, ``CASE__PT.nii.gz``, ``labelsTr/CASE.nii.gz``."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

NAME = "hecktor"
SUFFIXES = {"ct": "CT", "pet": "PT", "mr": "MR"}
DESCRIPTION = "imagesTr/CASE__CT.nii.gz, CASE__PT.nii.gz, labelsTr/CASE.nii.gz"
_ENDINGS = (".nii.gz", ".nii")


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return (root / "imagesTr").is_dir() and any((root / "imagesTr").glob("*__*.nii*"))


def _existing_or_expected(folder: pathlib.Path, stem: str) -> pathlib.Path:
    found = [folder / (stem + ending) for ending in _ENDINGS if (folder / (stem + ending)).exists()]
    if len(found) > 1:
        raise UserError(f"{stem} is there twice, zipped and not", path=found[0], remedy=f"Remove it or {found[1].name}")
    return found[0] if found else folder / (stem + _ENDINGS[0])


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases that have at least one image, sorted by name.

    Args:
        root: folder that holds ``imagesTr`` and ``labelsTr``.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a file that is there twice.
    """
    unknown = [name for name in modalities if name not in SUFFIXES]
    if unknown:
        raise UserError(f"layout {NAME} has the modalities {', '.join(SUFFIXES)}, got '{unknown[0]}'", path=root)
    images = root / "imagesTr"
    names = {path.name.split("__")[0] for ending in _ENDINGS for path in images.glob(f"*__*{ending}")}
    return [
        CaseFiles(
            case_id=case,
            images={name: NiftiFile(_existing_or_expected(images, f"{case}__{SUFFIXES[name]}")) for name in modalities},
            label=NiftiFile(_existing_or_expected(root / "labelsTr", case)),
            # HECKTOR 2022 draws on the CT; its labels share the CT's grid whatever else is converted.
            label_on=NiftiFile(_existing_or_expected(images, f"{case}__CT")),
        )
        for case in sorted(names)
    ]
