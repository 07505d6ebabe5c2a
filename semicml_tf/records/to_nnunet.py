"""Exports a dataset as a raw dataset of nnU-Net v2, so that nnU-Net trains on the same patients.

    DIR/Dataset001_NAME/imagesTr/CASE_0000.nii.gz   channel 0 of a labelled or validation patient, float32
    DIR/Dataset001_NAME/labelsTr/CASE.nii.gz        label of the patient
    DIR/Dataset001_NAME/imagesTs/CASE_0000.nii.gz   channel 0 of a test patient; the label is not written
    DIR/Dataset001_NAME/dataset.json                channels and labels
    DIR/Dataset001_NAME/splits_final.json           fold 0: train on labelled patients, validate on validation patients

All volumes are in native units on the patient's own grid, on which `evaluate` scores masks. nnU-Net resamples them
itself. Unlabelled patients are not written, because nnU-Net does not learn from them.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import catalogue
from semicml_tf.files.nifti.writer import write_on_grid
from semicml_tf.geometry.resample import resample
from semicml_tf.records import shards
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.records.nnunet_labels import NnunetLabels
from semicml_tf.records.to_nifti import file_stem, native_units
from semicml_tf.system import atomic_files, progress

_FOLDER = re.compile(r"Dataset(\d{3})_(.+)")
# Mean difference of normalised values. Above it, the record comes from another image. Rounding gives at most 0.0003.
_SAME = 0.002
_TRAINING, _VALIDATION, _TEST = PARTITIONS = ("labelled", "validation", "test")
_CONTENTS = ("dataset.json", "imagesTr", "imagesTs", "labelsTr", "splits_final.json")


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported dataset.

    Attributes:
        folder: folder of the dataset.
        labels: label values of the classes.
        cases: number of cases by partition.
        skipped: number of cases by partition that lack a modality.
    """

    folder: pathlib.Path
    labels: NnunetLabels
    cases: Mapping[str, int]
    skipped: Mapping[str, int]


def chosen_cases(info: DatasetInfo, modalities: Sequence[str]) -> dict[str, list[CaseEntry]]:
    """The cases of each partition that have all of `modalities`.

    Raises:
        UserError: the dataset lacks a modality, or has no labelled or no validation patient.
    """
    if unknown := [name for name in modalities if name not in info.modalities]:
        raise UserError(
            f"expected --modalities among {', '.join(info.modalities)}, got '{unknown[0]}'", path=info.location
        )
    chosen = {
        name: [case for case in info.partitions.get(name, ()) if set(modalities) <= set(info.modalities_of(case))]
        for name in PARTITIONS
    }
    for name in (_TRAINING, _VALIDATION):
        if not chosen[name]:
            raise UserError(
                f"expected a patient with {' and '.join(modalities)} in partition '{name}', got none",
                path=info.location,
                remedy="nnU-Net needs patients to train on and to validate on: choose other --modalities, or convert "
                "with another split",
            )
    return chosen


def export(
    info: DatasetInfo,
    folder: str | pathlib.Path,
    *,
    modalities: Sequence[str] = (),
    source: str | pathlib.Path | None = None,
    overwrite: bool = False,
) -> Exported:
    """Writes the labelled, validation and test patients of a dataset.

    Args:
        info: the dataset, whose shards are on this machine.
        folder: folder of raw datasets, nnU-Net's ``nnUNet_raw``. The dataset gets the next free number.
        modalities: the channels in order; () = all of the dataset's.
        source: folder or manifest that was converted. Images then come from its files. Otherwise images come from the
            records: resampled to the network's grid and back, and clipped to the normalisation's window.
        overwrite: whether to replace an earlier export of this name.

    Raises:
        UserError: such an export exists, the folder cannot be written to, a case or modality is missing, `source` is
            not what was converted, or one label map of nnU-Net cannot represent the target.
    """
    modalities = tuple(modalities) or info.modalities
    chosen = chosen_cases(info, modalities)
    labelled = [*chosen[_TRAINING], *chosen[_VALIDATION]]
    stems = {case: file_stem(case.case_id) for cases in chosen.values() for case in cases}
    if len(set(stems.values())) < len(stems):
        raise UserError("two cases have the same file name", path=info.location, remedy="Rename one of them")
    files = _files(info, modalities, source, stems)
    labels = NnunetLabels.of(info.labels, _codes(info, labelled))
    target = _target(pathlib.Path(folder), _name(info, modalities), overwrite=overwrite)
    with (
        atomic_files.new_directory(target, overwrite=overwrite) as staged,
        progress.bar(total=len(stems), desc="exporting", unit="case", leave=False) as bar,
    ):
        for part, cases in (("Tr", labelled), ("Ts", chosen[_TEST])):
            for record, case in zip(shards.read_cases(info, cases), cases):
                for number, name in enumerate(modalities):
                    image = _image(record, name, files.get(case.case_id))
                    place = staged / f"images{part}" / f"{stems[case]}_{number:04d}.nii.gz"
                    write_on_grid(place, image, record.native_grid)
                if part == "Tr":
                    values = labels.encode(record.native_label)
                    write_on_grid(staged / f"labels{part}" / f"{stems[case]}.nii.gz", values, record.native_grid)
                bar.update()
        atomic_files.write_json(staged / "dataset.json", _description(info, modalities, chosen, labels))
        split = {"train": _TRAINING, "val": _VALIDATION}
        fold = {key: sorted(stems[case] for case in chosen[name]) for key, name in split.items()}
        atomic_files.write_json(staged / "splits_final.json", [fold])
    counts = {name: len(cases) for name, cases in chosen.items()}
    skipped = {name: len(info.partitions.get(name, ())) - count for name, count in counts.items()}
    return Exported(target, labels, counts, skipped)


def _description(
    info: DatasetInfo, modalities: Sequence[str], chosen: Mapping[str, Sequence], labels: NnunetLabels
) -> dict:
    return {
        # nnU-Net normalises a channel of this name with statistics of the whole dataset, and any other per case.
        "channel_names": {
            str(number): "CT" if info.normalisation[name].kind == "hu" else name
            for number, name in enumerate(modalities)
        },
        **labels.to_json(),
        "numTraining": len(chosen[_TRAINING]) + len(chosen[_VALIDATION]),
        "numTest": len(chosen[_TEST]),
        "file_ending": ".nii.gz",
        "data_hash": info.data_hash,  # of the source dataset; nnU-Net ignores it
    }


def _codes(info: DatasetInfo, cases: Sequence[CaseEntry]) -> np.ndarray | None:
    """The codes in the labels of several regions; None for other targets, whose codes are known in advance."""
    if info.labels.exclusive or len(info.labels.names) == 1:
        return None
    return np.concatenate([np.unique(record.native_label) for record in shards.read_cases(info, cases)])


def _name(info: DatasetInfo, modalities: Sequence[str]) -> str:
    last = info.location.rstrip("/").rsplit("/", 1)[-1]
    parts = [re.sub(r"\W+", "_", last, flags=re.ASCII), *(modalities if modalities != info.modalities else ())]
    return "_".join(parts)


def _target(folder: pathlib.Path, name: str, *, overwrite: bool) -> pathlib.Path:
    """The folder of the dataset: that of an earlier export, or a new one with the next number.

    Raises:
        UserError: an earlier export exists and `overwrite` is False, or its folder contains other files.
    """
    matches = [_FOLDER.fullmatch(path.name) for path in (folder.iterdir() if folder.is_dir() else ())]
    numbers = {match[2]: int(match[1]) for match in matches if match}
    if name not in numbers:
        number = max(numbers.values(), default=0) + 1
        if number > 999:
            raise UserError("expected a number up to 999 for the next dataset", path=folder, remedy="Choose another")
        return folder / f"Dataset{number:03d}_{name}"
    target = folder / f"Dataset{numbers[name]:03d}_{name}"
    if not overwrite:
        raise UserError("this export exists already", path=target, remedy="Choose another, or pass --overwrite")
    atomic_files.check_replaceable(target, _CONTENTS)
    return target


def _files(
    info: DatasetInfo, modalities: Sequence[str], source: str | pathlib.Path | None, cases: Mapping[CaseEntry, str]
) -> dict[str, CaseFiles]:
    """The files of the cases by case name; {} without a source."""
    if source is None:
        return {}
    source = pathlib.Path(source)
    files = {case.case_id: case for case in catalogue.choose(info.layout, source).find(source, modalities)}
    for case in cases:
        if case.case_id not in files:
            raise UserError(
                f"expected case {case.case_id} of the dataset in its input, got {len(files)} other cases",
                path=source,
                remedy="Pass what was converted as --input. Leave --input out if cases have pseudonyms",
            )
        for _, problem in files[case.case_id].absent(with_label=False, modalities=modalities):
            raise problem
    return files


def _image(record: CaseRecord, name: str, files: CaseFiles | None) -> np.ndarray:
    """An image on the patient's own grid: float32, native units."""
    image, constants = record.images[name], record.constants[name]
    if files is None:
        return resample(native_units(image, constants), record.grid, record.native_grid)
    values, grid = files.images[name].read_volume()
    # Not equal, because the record has a float32 affine and float16 values.
    if np.abs(constants.apply(resample(values, grid, record.grid)) - image).mean() > _SAME:
        raise UserError(
            f"case {record.case_id} was converted from another image of '{name}'",
            path=files.images[name].path,
            remedy="Pass what was converted as --input, or convert the data again",
        )
    return resample(values, grid, record.native_grid)
