"""The layout of nnU-Net, version 2 or 1: ``imagesTr/CASE_0000.nii.gz`` for channel 0, ``labelsTr/CASE.nii.gz``.

``dataset.json`` names the channels. Version 2 may also list each case's files there, anywhere on the disk.
Cases in ``imagesTs`` are also read, with labels in ``labelsTs``.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import dataset_json, modality_names, summary
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

NAME = "nnunet"
DESCRIPTION = 'dataset.json with "channel_names", imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz (nnU-Net v2 and v1)'

FIXED_NAMES = dataset_json.FIXED_NAMES


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    body = dataset_json.content(root)
    return body is not None and ("channel_names" in body or dataset_json.has_channel_files(root))


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that at least one case has."""
    return tuple(dataset_json.channels(root))


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What the folder contains, in one sentence; raises as `find`."""
    version = 2 if "channel_names" in (dataset_json.content(root) or {}) else 1
    return summary.describe(f"nnU-Net v{version}", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims, and counts that differ; see `catalogue.choose`."""
    if (dataset_json.content(root) or {}).get("dataset"):  # listed files may be in any folder
        return []
    return dataset_json.oddities(root, find(root, modalities(root), options), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: folder with ``dataset.json`` and ``imagesTr``.
        modalities: names to look for, in any spelling.
        options: the user's choices for the folder.

    Raises:
        UserError: `dataset.json` is unusable or lacks a modality, the files are no NIfTI files, or a case or file
            exists twice.
    """
    channels = dataset_json.channels(root)
    wanted = modality_names.among(modalities, tuple(channels), layout=NAME, path=root)
    numbers = {name: channels[ours] for name, ours in wanted.items()}
    body = dataset_json.read(root)
    ending = body.get("file_ending", folders.ENDINGS[0])
    if ending not in folders.ENDINGS:
        raise UserError(
            f"expected a data set of NIfTI files, got \"file_ending\": '{ending}'",
            path=root / dataset_json.FILE_NAME,
            remedy="Convert its files to .nii.gz",
        )
    all_cases = _listed(root, body["dataset"], numbers) if body.get("dataset") else _in_folders(root, numbers)
    cases: dict[str, CaseFiles] = {}
    for case in all_cases:
        if case.case_id in cases:
            raise UserError(
                f"case {case.case_id} is there twice, in imagesTr and imagesTs", path=root, remedy="Rename one of them"
            )
        cases[case.case_id] = case
    return [cases[name] for name in sorted(cases)]


def _in_folders(root: pathlib.Path, numbers: Mapping[str, int]) -> Iterator[CaseFiles]:
    for part in dataset_json.PARTS:
        images, labels = root / f"images{part}", root / f"labels{part}"
        image_names = frozenset(folders.nifti_files(images))
        label_names = frozenset(folders.nifti_files(labels))
        matches = [dataset_json.CHANNEL.fullmatch(folders.stem(name)) for name in image_names]
        for case in sorted({match[1] for match in matches if match}):
            label = folders.existing_or_expected(labels, case, label_names)
            yield CaseFiles(
                folders.case_name(case),
                images={
                    name: NiftiFile(folders.existing_or_expected(images, f"{case}_{number:04d}", image_names))
                    for name, number in numbers.items()
                },
                label=NiftiFile(label) if part == "Tr" or label.name in label_names else None,
            )


def _listed(root: pathlib.Path, listed: Mapping, numbers: Mapping[str, int]) -> Iterator[CaseFiles]:
    for case, files in listed.items():
        try:
            images = {name: NiftiFile(root / files["images"][number]) for name, number in numbers.items()}
            label = files.get("label")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UserError(
                f'expected for case {case} "images": [one path per channel] and "label", got {str(files)[:100]}',
                path=root / dataset_json.FILE_NAME,
                remedy='Correct its entry under "dataset"',
            ) from error
        yield CaseFiles(folders.case_name(case), images=images, label=NiftiFile(root / label) if label else None)
