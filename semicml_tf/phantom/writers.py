"""Phantom cases as files, in the layouts that conversion reads; the same case gives the same bytes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from semicml_tf.phantom import writers_index as index

if TYPE_CHECKING:
    from semicml_tf.phantom.case import PhantomCase

Paths = dict[str, str]  # relative to the phantom's folder, by modality and of the label as ``label``


def _phantom_id(number: int) -> str:
    return f"PHANTOM_{number:03d}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a layout's phantom is written.

    Attributes:
        body: ``trunk`` (CT and PET) or ``head`` (four MR contrasts).
        write: writes a case into a folder and tells where each file lies.
        finish: writes what belongs to all cases, given the folder, paths by case, and split.
        case_id: the name under which the layout knows case number i.
        label_values: what a value of the case's label map is written as; others stay.
    """

    body: str
    write: Callable[[pathlib.Path, PhantomCase], Paths]
    finish: Callable[[pathlib.Path, Mapping[str, Paths], Mapping[str, list[str]]], None] = lambda *_: None
    case_id: Callable[[int], str] = _phantom_id
    label_values: Mapping[int, int] = dataclasses.field(default_factory=dict)


def _files(name: Callable[[str, str], str]) -> Callable[[pathlib.Path, PhantomCase], Paths]:
    """A writer of one NIfTI file for each modality and the label, at ``name(case_id, what)``."""

    def write(folder: pathlib.Path, case: PhantomCase) -> Paths:
        from semicml_tf.phantom.write_volume import write_volume

        paths = {what: name(case.case_id, what) for what in (*case.images, "label")}
        for what, (volume, grid) in {**case.images, "label": (case.label, case.label_grid)}.items():
            write_volume(folder / paths[what], volume, grid)
        return paths

    return write


def _hecktor(case: str, what: str) -> str:
    words = {"ct": "__CT", "pet": "__PT"}
    return f"labelsTr/{case}.nii.gz" if what == "label" else f"imagesTr/{case}{words[what]}.nii.gz"


def _hecktor2021(case: str, what: str) -> str:
    words = {"ct": "ct", "pet": "pt", "label": "gtvt"}
    return f"hecktor2021_train/hecktor_nii/{case}_{words[what]}.nii.gz"


def _brats(case: str, what: str) -> str:
    return f"{case}/{case}_{'seg' if what == 'label' else what}.nii.gz"


def _brats2020(case: str, what: str) -> str:
    return f"{case}/{case}_{'seg' if what == 'label' else what}.nii"


def _brats2023(case: str, what: str) -> str:
    words = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "label": "seg"}
    return f"{case}/{case}-{words[what]}.nii.gz"


def _nnunet(case: str, what: str) -> str:
    if what == "label":
        return f"labelsTr/{case}.nii.gz"
    return f"imagesTr/{case}_{index.MR_CHANNELS.index(what):04d}.nii.gz"


def _bids(case: str, what: str) -> str:
    if what == "label":
        return f"derivatives/phantom/{case}/anat/{case}_label-lesion_dseg.nii.gz"
    words = {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"}
    return f"{case}/anat/{case}_{words[what]}.nii.gz"


def _plain(case: str, what: str) -> str:
    return f"volumes/{case}_{what}.nii.gz"


def _decathlon(folder: pathlib.Path, case: PhantomCase) -> Paths:
    import numpy as np

    from semicml_tf.phantom.write_volume import write_volume

    image, label = f"imagesTr/{case.case_id}.nii.gz", f"labelsTr/{case.case_id}.nii.gz"
    stacked = np.stack([case.images[name][0] for name in index.MR_CHANNELS], axis=-1)
    write_volume(folder / image, stacked, case.images[index.MR_CHANNELS[0]][1])
    write_volume(folder / label, case.label, case.label_grid)
    return {**dict.fromkeys(index.MR_CHANNELS, image), "label": label}


def _dicom(folder: pathlib.Path, case: PhantomCase) -> Paths:
    from semicml_tf.phantom.dicom_writer import write_dicom

    return write_dicom(folder, case)


# Decathlon and nnU-Net count label values without a gap, edema first; BraTS closed its gap in 2023.
_CONSECUTIVE = {1: 2, 2: 1, 4: 3}

LAYOUTS = {
    "hecktor": Layout("trunk", _files(_hecktor)),
    "hecktor2021": Layout("trunk", _files(_hecktor2021)),
    "brats": Layout("head", _files(_brats)),
    "brats2020": Layout("head", _files(_brats2020), case_id=lambda number: f"BraTS20_Training_{number + 1:03d}"),
    "brats2023": Layout(
        "head", _files(_brats2023), case_id=lambda number: f"BraTS-GLI-{number:05d}-000", label_values={4: 3}
    ),
    "decathlon": Layout("head", _decathlon, index.write_decathlon, label_values=_CONSECUTIVE),
    "nnunet": Layout("head", _files(_nnunet), index.write_nnunet, label_values=_CONSECUTIVE),
    "bids": Layout("head", _files(_bids), index.write_bids, case_id=lambda number: f"sub-PHANTOM{number:03d}"),
    "csv": Layout("trunk", _files(_plain), index.write_manifest),
    "dicom": Layout("trunk", _dicom),
}
