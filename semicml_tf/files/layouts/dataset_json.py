"""``dataset.json`` beside ``imagesTr``, as in Medical Segmentation Decathlon and nnU-Net."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import MinLen
from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import summary
from semicml_tf.files.layouts.modality_names import canonical
from semicml_tf.system import json_files

FILE_NAME = "dataset.json"
PARTS = ("Tr", "Ts")
# Folders and files that have these names in every data set.
FIXED_NAMES = (FILE_NAME, *(f"{kind}{part}" for kind in ("images", "labels") for part in PARTS))
CHANNEL = re.compile(r"(.+)_(\d{4})")


class _Files(TypedDict):
    images: Annotated[list[str], MinLen(1)]
    label: NotRequired[str | None]


class Description(TypedDict, total=False):
    """Fields of ``dataset.json``: channels by number; in nnU-Net v2, also the ending and paths of files."""

    channel_names: dict[str, str]
    modality: dict[str, str]
    file_ending: str
    dataset: dict[str, _Files]


def read(root: pathlib.Path) -> Description:
    """Reads ``dataset.json``.

    Raises:
        UserError: the file cannot be read, or is malformed.
    """
    return json_files.read(
        root / FILE_NAME,
        Description,
        what="the description of a data set",
        remedy='Correct it, or choose another --layout. For example "channel_names": {"0": "CT", "1": "PET"}',
        max_bytes=json_files.MAX_BYTES_OF_CASES,
    )


def content(root: pathlib.Path) -> dict[str, Any] | None:
    """The content of ``dataset.json``; None if the file is missing or of another kind."""
    try:
        body = json_files.load(root / FILE_NAME, what="", max_bytes=json_files.MAX_BYTES_OF_CASES)
    except UserError:
        return None
    names = isinstance(body, dict) and (body.get("channel_names") or body.get("modality"))
    return body if isinstance(names, dict) else None


def has_channel_files(root: pathlib.Path) -> bool:
    """Whether each channel is a separate file (nnU-Net), rather than one 4-D file for all (Decathlon).

    ``CASE_0000`` is channel 0, unless a label has the same name: labels are named after the case only.
    """
    for part in PARTS:
        names = [folders.stem(name) for name in folders.nifti_files(root / f"images{part}")]
        labels = {folders.stem(name) for name in folders.nifti_files(root / f"labels{part}")}
        channels = [name for name in names if CHANNEL.fullmatch(name)]
        if names:
            return bool(channels) and not any(name in labels for name in channels)
    return False


def oddities(root: pathlib.Path, cases: Sequence[CaseFiles], description: str) -> list[summary.Oddity]:
    """The files that no case claims, and numbers of cases that differ from those in ``dataset.json``.

    Args:
        root: folder with ``dataset.json``.
        cases: all cases of the layout, with all modalities.
        description: how the layout names files.
    """
    differences = []
    body = content(root) or {}
    for part, key in (("Tr", "numTraining"), ("Ts", "numTest")):
        images = root / f"images{part}"
        count = sum(any(source.path.parent == images for source in case.images.values()) for case in cases)
        expected = body.get(key)
        # Public data sets often omit the test images, so that no test images are no error.
        if type(expected) is int and expected != count and (count or part == "Tr"):
            differences.append(
                summary.Oddity(
                    "case_count_differs",
                    root / FILE_NAME,
                    f"expected {expected} cases in {images.name} as in '{key}', got {count}",
                    f"Check that {images.name} is complete and follows the layout's names, or correct '{key}'",
                )
            )
    places = [root / f"{kind}{part}" for part in PARTS for kind in ("images", "labels")]
    return [*differences, *summary.unclaimed(cases, folders.volumes(places), description)]


def channels(root: pathlib.Path) -> dict[str, int]:
    """Numbers of the channels by canonical modality name.

    Raises:
        UserError: the file cannot be read or is malformed, or two channels have the same modality.
    """
    path = root / FILE_NAME
    body = read(root)
    names = body.get("channel_names") or body.get("modality") or {}
    try:
        numbers = {int(number): canonical(name) for number, name in names.items()}
        if not len(numbers) == len(names) > 0 or not 0 <= min(numbers) <= max(numbers) <= 9999:
            raise ValueError("no channels, a repeated number, or a number out of range")
    except ValueError as error:
        raise UserError(
            "expected 'channel_names' (nnU-Net v2) or 'modality' (Decathlon, nnU-Net v1) with names by number",
            path=path,
            remedy='For example "channel_names": {"0": "CT", "1": "PET"}',
        ) from error
    number_of = {name: number for number, name in sorted(numbers.items())}
    if len(number_of) < len(numbers):
        twice = next(name for name in number_of if list(numbers.values()).count(name) > 1)
        raise UserError(
            f"two channels are called '{twice}'", path=path, remedy="Give each channel a different name in the file"
        )
    return number_of
