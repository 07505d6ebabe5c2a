"""Writes phantom cases in the layouts that conversion reads. The same case gives the same bytes."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from semicml_tf.system import atomic_files

if TYPE_CHECKING:
    import numpy as np

    from semicml_tf.geometry.grid import Grid
    from semicml_tf.phantom.case import PhantomCase

Paths = dict[str, str]  # by modality and ``label``, relative to the folder of the phantom
MR_CHANNELS = ("flair", "t1", "t1ce", "t2")
_CHANNEL_NAMES = {
    "flair": "FLAIR",
    "t1": "T1w",
    "t1ce": "t1gd",
    "t2": "T2w",
}  # as in the brain tumour task of Decathlon
_LABELS = ("background", "edema", "non-enhancing tumor", "enhancing tumour")
_SUV_STEP = 1 / 1024  # SUV per stored unit: the largest int16 is SUV 32


def _phantom_id(number: int) -> str:
    return f"PHANTOM_{number:03d}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a phantom is written in a layout.

    Attributes:
        body: ``trunk`` (CT and PET) or ``head`` (four MR contrasts).
        write: writes a case into a folder, and returns the paths of its files.
        finish: writes the files that describe all cases, given the folder, paths by case, and split.
        case_id: returns the name of case number i.
        label_values: value in the file by value of the phantom's label map. Other values stay.
        takes_mr: whether a trunk may have MR in addition to CT and PET.
    """

    body: str
    write: Callable[[pathlib.Path, PhantomCase], Paths]
    finish: Callable[[pathlib.Path, Mapping[str, Paths], Mapping[str, list[str]]], None] = lambda *_: None
    case_id: Callable[[int], str] = _phantom_id
    label_values: Mapping[int, int] = dataclasses.field(default_factory=dict)
    takes_mr: bool = False


def _files(name: Callable[[str, str], str]) -> Callable[[pathlib.Path, PhantomCase], Paths]:
    """A writer of one NIfTI file per modality and the label, at ``name(case_id, key)``."""

    def write(folder: pathlib.Path, case: PhantomCase) -> Paths:
        volumes = {**case.images, "label": (case.label, case.label_grid)}
        paths = {key: name(case.case_id, key) for key in volumes}
        for key, (volume, grid) in volumes.items():
            write_volume(folder / paths[key], volume, grid)
        return paths

    return write


def _hecktor(case: str, key: str) -> str:
    words = {"ct": "__CT", "pet": "__PT", "mr": "__MR"}
    return f"labelsTr/{case}.nii.gz" if key == "label" else f"imagesTr/{case}{words[key]}.nii.gz"


def _hecktor2021(case: str, key: str) -> str:
    words = {"ct": "ct", "pet": "pt", "label": "gtvt"}
    return f"hecktor2021_train/hecktor_nii/{case}_{words[key]}.nii.gz"


def _brats(case: str, key: str) -> str:
    return f"{case}/{case}_{'seg' if key == 'label' else key}.nii.gz"


def _brats2020(case: str, key: str) -> str:
    return f"{case}/{case}_{'seg' if key == 'label' else key}.nii"


def _brats2023(case: str, key: str) -> str:
    words = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "label": "seg"}
    return f"{case}/{case}-{words[key]}.nii.gz"


def _nnunet(case: str, key: str) -> str:
    if key == "label":
        return f"labelsTr/{case}.nii.gz"
    return f"imagesTr/{case}_{MR_CHANNELS.index(key):04d}.nii.gz"


def _bids(case: str, key: str) -> str:
    if key == "label":
        return f"derivatives/phantom/{case}/anat/{case}_label-lesion_dseg.nii.gz"
    words = {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"}
    return f"{case}/anat/{case}_{words[key]}.nii.gz"


def _plain(case: str, key: str) -> str:
    return f"volumes/{case}_{key}.nii.gz"


def _decathlon(folder: pathlib.Path, case: PhantomCase) -> Paths:
    import numpy as np

    image, label = f"imagesTr/{case.case_id}.nii.gz", f"labelsTr/{case.case_id}.nii.gz"
    stacked = np.stack([case.images[name][0] for name in MR_CHANNELS], axis=-1)
    write_volume(folder / image, stacked, case.images[MR_CHANNELS[0]][1])
    write_volume(folder / label, case.label, case.label_grid)
    return {**dict.fromkeys(MR_CHANNELS, image), "label": label}


def _dicom(folder: pathlib.Path, case: PhantomCase) -> Paths:
    from semicml_tf.phantom.dicom_writer import write_dicom

    return write_dicom(folder, case)


def write_volume(path: pathlib.Path, volume: np.ndarray, grid: Grid) -> None:
    """Writes integers unchanged, and float32 as int16 with a slope, as scanners export SUV.

    Args:
        path: ends in .nii or .nii.gz.
        volume: with the shape of the grid, or with a fourth axis of channels.
        grid: of the volume.
    """
    import nibabel
    import numpy as np

    stored = np.round(volume / _SUV_STEP).clip(0, 32767).astype(np.int16) if volume.dtype == np.float32 else volume
    image = nibabel.Nifti1Image(stored, grid.affine)
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    if stored is not volume:
        # nibabel ignores a slope that is set explicitly, so that it is written into the bytes of the header.
        offset = nibabel.nifti1.header_dtype.fields["scl_slope"][1]
        content[offset : offset + 4] = np.float32(_SUV_STEP).tobytes()

    def write(stream):
        if path.suffix != ".gz":
            stream.write(content)
            return
        # By default, gzip stores name and time of its input, which would change the bytes with every run.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped:
            zipped.write(content)

    atomic_files.write_file(path, write)


def _channel_names() -> dict[str, str]:
    return {str(number): _CHANNEL_NAMES[name] for number, name in enumerate(MR_CHANNELS)}


def write_decathlon(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """Writes ``dataset.json`` as in the Medical Segmentation Decathlon."""
    training = [{"image": f"./{files['flair']}", "label": f"./{files['label']}"} for files in paths.values()]
    body = {
        "name": "Phantom",
        "tensorImageSize": "4D",
        "modality": _channel_names(),
        "labels": {str(number): name for number, name in enumerate(_LABELS)},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    atomic_files.write_json(folder / "dataset.json", body)


def write_nnunet(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """Writes ``dataset.json`` as in nnU-Net v2."""
    body = {
        "channel_names": _channel_names(),
        "labels": {name: number for number, name in enumerate(_LABELS)},
        "numTraining": len(paths),
        "file_ending": ".nii.gz",
    }
    atomic_files.write_json(folder / "dataset.json", body)


def write_bids(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """Writes the descriptions of the data set and of its derivatives, and the list of participants."""
    common = {"Name": "Phantom", "BIDSVersion": "1.9.0"}
    atomic_files.write_json(folder / "dataset_description.json", {**common, "DatasetType": "raw"})
    derivative = {**common, "DatasetType": "derivative", "GeneratedBy": [{"Name": "semicml_tf.phantom"}]}
    atomic_files.write_json(folder / "derivatives/phantom/dataset_description.json", derivative)
    atomic_files.write_text(folder / "participants.tsv", "\n".join(["participant_id", *paths]) + "\n")


def write_manifest(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """Writes ``manifest.csv``: case, relative paths of the modalities and the label, partition."""
    partition = {case_id: name for name, case_ids in split.items() for case_id in case_ids}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = list(max(paths.values(), key=len))
    table.writerow(["case", *columns, "partition"])
    for case_id, row in paths.items():
        table.writerow([case_id, *(row.get(column, "") for column in columns), partition[case_id]])
    atomic_files.write_text(folder / "manifest.csv", text.getvalue())


# Decathlon and nnU-Net have consecutive label values, edema first. BraTS has them since 2023.
_CONSECUTIVE = {1: 2, 2: 1, 4: 3}

LAYOUTS = {
    "hecktor": Layout("trunk", _files(_hecktor), takes_mr=True),
    "hecktor2021": Layout("trunk", _files(_hecktor2021)),
    "brats": Layout("head", _files(_brats)),
    "brats2020": Layout("head", _files(_brats2020), case_id=lambda number: f"BraTS20_Training_{number + 1:03d}"),
    "brats2023": Layout(
        "head", _files(_brats2023), case_id=lambda number: f"BraTS-GLI-{number:05d}-000", label_values={4: 3}
    ),
    "decathlon": Layout("head", _decathlon, write_decathlon, label_values=_CONSECUTIVE),
    "nnunet": Layout("head", _files(_nnunet), write_nnunet, label_values=_CONSECUTIVE),
    "bids": Layout("head", _files(_bids), write_bids, case_id=lambda number: f"sub-PHANTOM{number:03d}"),
    "csv": Layout("trunk", _files(_plain), write_manifest, takes_mr=True),
    "dicom": Layout("trunk", _dicom, takes_mr=True),
}
