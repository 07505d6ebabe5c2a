"""The files of a phantom that stand for all of its cases: manifest, ``dataset.json``, ``dataset_description.json``."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Mapping

from semicml_tf.system import atomic_files

MR_CHANNELS = ("flair", "t1", "t1ce", "t2")
_CHANNEL_NAMES = {"flair": "FLAIR", "t1": "T1w", "t1ce": "t1gd", "t2": "T2w"}  # as Decathlon's brain tumours have them
_LABELS = ("background", "edema", "non-enhancing tumor", "enhancing tumour")


def _channel_names() -> dict[str, str]:
    return {str(number): _CHANNEL_NAMES[name] for number, name in enumerate(MR_CHANNELS)}


def write_decathlon(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """``dataset.json`` as the Medical Segmentation Decathlon has it."""
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
    """``dataset.json`` as nnU-Net v2 has it."""
    body = {
        "channel_names": _channel_names(),
        "labels": {name: number for number, name in enumerate(_LABELS)},
        "numTraining": len(paths),
        "file_ending": ".nii.gz",
    }
    atomic_files.write_json(folder / "dataset.json", body)


def write_bids(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """The description of the data set and of its derivatives, and the list of its participants."""
    about = {"Name": "Phantom", "BIDSVersion": "1.9.0"}
    atomic_files.write_json(folder / "dataset_description.json", {**about, "DatasetType": "raw"})
    made = {**about, "DatasetType": "derivative", "GeneratedBy": [{"Name": "semicml_tf.phantom"}]}
    atomic_files.write_json(folder / "derivatives/phantom/dataset_description.json", made)
    atomic_files.write_text(folder / "participants.tsv", "\n".join(["participant_id", *paths]) + "\n")


def write_manifest(folder: pathlib.Path, paths: Mapping[str, Mapping[str, str]], split) -> None:
    """``manifest.csv``: case, a path for every modality relative to the table, label, partition."""
    partition = {case_id: name for name, case_ids in split.items() for case_id in case_ids}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = list(next(iter(paths.values())))
    table.writerow(["case", *columns, "partition"])
    for case_id, row in paths.items():
        table.writerow([case_id, *(row[column] for column in columns), partition[case_id]])
    atomic_files.write_text(folder / "manifest.csv", text.getvalue())
