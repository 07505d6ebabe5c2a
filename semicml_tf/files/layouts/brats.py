"""The layout of BraTS 2018 to 2021: ``CASE/CASE_t2.nii.gz``, ..., ``CASE/CASE_seg.nii.gz``, zipped or not.

BraTS 2018 and 2019 keep their cases in two folders, ``HGG`` and ``LGG``; both are read.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import summary
from semicml_tf.files.layouts.brats_names import Names
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions

NAME = "brats"
MODALITIES = ("t1", "t1ce", "t2", "flair")
DESCRIPTION = "CASE/CASE_t2.nii.gz, _t1ce, _flair, _t1, CASE/CASE_seg.nii.gz (BraTS 2018 to 2021, .nii as well)"
_YEAR = re.compile(r"brats(20)?(\d\d)_", re.IGNORECASE)
# Until 2019 a case's name ends in the number of the patient's study.
_STUDY = re.compile(r"(brats1\d_.+)_\d+", re.IGNORECASE)


def _patient(case_id: str) -> str:
    numbered = _STUDY.fullmatch(case_id)
    return numbered[1] if numbered else case_id


_NAMES = Names(NAME, {name: name for name in MODALITIES}, "_", _patient)


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return _NAMES.detect(root)


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are."""
    return MODALITIES


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
    cases = find(root, MODALITIES, options)
    years = sorted({f"20{year[2]}" for case in cases if (year := _YEAR.match(case.case_id))})
    return summary.tell(f"BraTS {', '.join(years)}" if years else "BraTS of 2018 to 2021", cases)


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims; see `layouts.choose`."""
    return summary.unclaimed(find(root, MODALITIES, options), folders.volumes(_NAMES.places(root)), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: folder that holds one folder a case, directly or in ``HGG`` and ``LGG``.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a case or file that is there twice.
    """
    return _NAMES.find(root, modalities, options)
