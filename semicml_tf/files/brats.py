"""The layout of BraTS 2019 to 2021: ``CASE/CASE_t2.nii.gz``, ..., ``CASE/CASE_seg.nii.gz``.

BraTS 2019 keeps its cases in two folders, ``HGG`` and ``LGG``; both are read.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

NAME = "brats"
MODALITIES = ("t1", "t1ce", "t2", "flair")
DESCRIPTION = "CASE/CASE_t2.nii.gz, _t1ce, _flair, _t1, CASE/CASE_seg.nii.gz"
_GRADES = ("HGG", "LGG")
_ENDINGS = (".nii.gz", ".nii")


def _case_folders(root: pathlib.Path) -> list[pathlib.Path]:
    parents = [root, *(root / grade for grade in _GRADES if (root / grade).is_dir())]
    folders = [folder for parent in parents for folder in parent.iterdir() if folder.is_dir()]
    return sorted(
        (folder for folder in folders if any(folder.glob(f"{folder.name}_*.nii*"))), key=lambda folder: folder.name
    )


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return root.is_dir() and bool(_case_folders(root))


def _existing_or_expected(folder: pathlib.Path, what: str) -> pathlib.Path:
    paths = [folder / f"{folder.name}_{what}{ending}" for ending in _ENDINGS]
    found = [path for path in paths if path.exists()]
    if len(found) > 1:
        raise UserError(
            f"'{what}' is there twice, zipped and not", path=found[0], remedy=f"Remove it or {found[1].name}"
        )
    return found[0] if found else paths[0]


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: folder that holds one folder a case, directly or in ``HGG`` and ``LGG``.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a case or file that is there twice.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown:
        raise UserError(f"layout {NAME} has the modalities {', '.join(MODALITIES)}, got '{unknown[0]}'", path=root)
    folders = _case_folders(root)
    for one, other in zip(folders, folders[1:]):
        if one.name == other.name:
            raise UserError(
                f"case {one.name} is there twice, also as {other}", path=one, remedy="Remove or rename one of them"
            )
    return [
        CaseFiles(
            case_id=folder.name,
            images={name: NiftiFile(_existing_or_expected(folder, name)) for name in modalities},
            label=NiftiFile(_existing_or_expected(folder, "seg")),
        )
        for folder in folders
    ]
