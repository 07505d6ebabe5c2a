"""The layout of HECKTOR 2022: ``imagesTr/CASE__CT.nii.gz``, ``CASE__PT.nii.gz``, ``labelsTr/CASE.nii.gz``.

Cases in ``imagesTs`` are read, too; their labels are looked for in ``labelsTs``.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import hecktor_names, summary
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions

NAME = "hecktor"
SUFFIXES = {"ct": "__CT", "pet": "__PT", "mr": "__MR"}
DESCRIPTION = "imagesTr/CASE__CT.nii.gz, CASE__PT.nii.gz, labelsTr/CASE.nii.gz (HECKTOR 2022)"


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    suffixes = tuple(SUFFIXES.values())
    return any(
        hecktor_names.case_ids(folders.nifti_files(root / images), suffixes) for images in ("imagesTr", "imagesTs")
    )


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are."""
    return hecktor_names.modalities_of(find(root, tuple(SUFFIXES)))


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
    return summary.tell("HECKTOR 2022", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims; see `layouts.choose`."""
    places = [root / f"{what}{part}" for part in ("Tr", "Ts") for what in ("images", "labels")]
    return summary.unclaimed(find(root, tuple(SUFFIXES), options), folders.volumes(places), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases that have at least one image, sorted by name.

    Args:
        root: folder that holds ``imagesTr`` and ``labelsTr``.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a case or file that is there twice.
    """
    asked = hecktor_names.asked(modalities, SUFFIXES, NAME, root)
    parts = [
        hecktor_names.cases_of(root / f"images{part}", root / f"labels{part}", asked, SUFFIXES, "")
        for part in ("Tr", "Ts")
    ]
    return hecktor_names.merged(parts)
