"""The layout of HECKTOR 2020 and 2021: ``CASE_ct.nii.gz``, ``CASE_pt.nii.gz``, ``CASE_gtvt.nii.gz`` side by side.

They lie in the folder itself, or as they are published: in ``hecktor2021_train/hecktor_nii``, ``hecktor2021_test``.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import hecktor_names, summary
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions

NAME = "hecktor2021"
SUFFIXES = {"ct": "_ct", "pet": "_pt"}
DESCRIPTION = "CASE_ct.nii.gz, CASE_pt.nii.gz, CASE_gtvt.nii.gz in one folder or in hecktor_nii (HECKTOR 2020, 2021)"
_LABEL = "_gtvt"


def _places(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folders that may hold the files: `root`, its ``hecktor_nii``, and those of its parts."""
    yield root
    parts = [root, *(root / name for name in folders.entries(root)[0] if name.lower().startswith("hecktor"))]
    for part in parts:
        yield from (part / name for name in folders.entries(part)[0] if name.lower().startswith("hecktor_nii"))


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return any(hecktor_names.case_ids(folders.nifti_files(place), tuple(SUFFIXES.values())) for place in _places(root))


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are."""
    return hecktor_names.modalities_of(find(root, tuple(SUFFIXES)))


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
    return summary.tell("HECKTOR 2020 or 2021", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims; see `layouts.choose`."""
    return summary.unclaimed(find(root, tuple(SUFFIXES), options), folders.volumes(_places(root)), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases that have at least one image, sorted by name.

    Args:
        root: folder of the files, or one above, see the module's docstring.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a case or file that is there twice.
    """
    asked = hecktor_names.asked(modalities, SUFFIXES, NAME, root)
    return hecktor_names.merged(
        [hecktor_names.cases_of(place, place, asked, SUFFIXES, _LABEL) for place in _places(root)]
    )
