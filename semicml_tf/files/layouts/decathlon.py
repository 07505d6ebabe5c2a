"""The layout of the Medical Segmentation Decathlon: 4-D images, whose channels ``dataset.json`` names.

``imagesTr/CASE.nii.gz`` with ``labelsTr/CASE.nii.gz``, and ``imagesTs/CASE.nii.gz``, which has no label.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import dataset_json, modality_names, summary
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts.hecktor import HECKTOR
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

NAME = "decathlon"
DESCRIPTION = (
    'dataset.json with "modality", imagesTr/CASE.nii.gz (4-D), labelsTr/CASE.nii.gz (Medical Segmentation Decathlon)'
)

FIXED_NAMES = dataset_json.FIXED_NAMES


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    body = dataset_json.content(root)
    if body is None or "channel_names" in body or HECKTOR.detect(root):
        return False
    has_images = any(folders.nifti_files(root / f"images{part}") for part in dataset_json.PARTS)
    return has_images and not dataset_json.has_channel_files(root)


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that at least one case has."""
    return tuple(dataset_json.channels(root))


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What the folder contains, in one sentence; raises as `find`."""
    return summary.describe("Medical Segmentation Decathlon", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims, and counts that differ; see `catalogue.choose`."""
    return dataset_json.oddities(root, find(root, modalities(root), options), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: folder with ``dataset.json`` and ``imagesTr``.
        modalities: names to look for, in any spelling.
        options: the user's choices for the folder.

    Raises:
        UserError: `dataset.json` is unusable or lacks a modality, or a case exists twice.
    """
    channels = dataset_json.channels(root)
    wanted = modality_names.among(modalities, tuple(channels), layout=NAME, path=root)
    cases: dict[str, CaseFiles] = {}
    for part in dataset_json.PARTS:
        images, labels = root / f"images{part}", root / f"labels{part}"
        label_names = frozenset(folders.nifti_files(labels))
        for name in folders.nifti_files(images):
            case_id = folders.case_name(folders.stem(name))
            if case_id in cases:
                raise UserError(
                    f"case {case_id} is there twice", path=images / name, remedy="Remove or rename one of them"
                )
            label = folders.existing_or_expected(labels, folders.stem(name), label_names)
            # A file with one channel is 3-D, and is read as a whole.
            images_of = {
                word: NiftiFile(images / name, channels[ours] if len(channels) > 1 else None)
                for word, ours in wanted.items()
            }
            has_label = part == "Tr" or label.name in label_names
            cases[case_id] = CaseFiles(case_id, images=images_of, label=NiftiFile(label) if has_label else None)
    return [cases[name] for name in sorted(cases)]
