"""Lists the names in a folder for layouts. Opens no file."""

from __future__ import annotations

import itertools
import os
import pathlib
import unicodedata
from collections.abc import Collection, Iterable

from semicml_tf.errors import UserError, printable

ENDINGS = (".nii.gz", ".nii")
# All spellings of the endings in lower and upper case.
_SPELLINGS = tuple(
    "".join(letters)
    for ending in ENDINGS
    for letters in itertools.product(*(dict.fromkeys((letter, letter.upper())) for letter in ending))
)
# Endings of other formats of volumes. They are not read, but reported.
_OTHER_IMAGES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".nii.bz2", ".nii.zst", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz")


def entries(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in `folder`, each sorted.

    Hidden names are omitted, including ``._NAME`` files, which macOS writes on other file systems. A broken or
    circular link counts as a file, so that an error can name it.

    Raises:
        UserError: the folder cannot be read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as scanned:
            for entry in scanned:
                if not entry.name.startswith("."):
                    (folders if _is_folder(entry) else files).append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        raise UserError(
            f"this folder cannot be read ({error.strerror or error})", path=folder, remedy="Check its permissions"
        ) from error
    return sorted(folders), sorted(files)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_nifti(name: str) -> bool:
    """Whether a file's name has a NIfTI ending, in lower or upper case."""
    return name.lower().endswith(ENDINGS)


def is_volume(name: str) -> bool:
    """Whether a file's name has the ending of a volume, in NIfTI or in a format that is not read."""
    return is_nifti(name) or name.lower().endswith(_OTHER_IMAGES)


def nifti_files(folder: pathlib.Path) -> list[str]:
    """Names of the NIfTI files in `folder`, sorted."""
    return [name for name in entries(folder)[1] if is_nifti(name)]


def volumes(places: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The files of these folders whose names have the ending of a volume, in any format."""
    return [folder / name for folder in places for name in entries(folder)[1] if is_volume(name)]


def stem(name: str) -> str:
    """A NIfTI file's name without its ending."""
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def existing_or_expected(folder: pathlib.Path, name: str, existing: Collection[str]) -> pathlib.Path:
    """The file `name` with a NIfTI ending, or its expected path if it does not exist.

    Args:
        folder: the folder of the file.
        name: name of the file without its ending.
        existing: names of the existing files in `folder`.

    Raises:
        UserError: the file exists with two endings.
    """
    files = [name + ending for ending in _SPELLINGS if name + ending in existing]
    if len(files) > 1:
        raise UserError(
            f"'{name}' is there twice, with the endings {' and '.join(file[len(name) :] for file in files)}",
            path=folder / files[0],
            remedy=f"Remove it or {files[1]}",
        )
    if files:
        return folder / files[0]
    # Expects a zipped file, unless all other files of the folder are not zipped.
    zipped = any(other.endswith(ENDINGS[0]) for other in existing) or not any(
        other.endswith(".nii") for other in existing
    )
    return folder / (name + ENDINGS[0 if zipped else 1])


def case_name(text: str) -> str:
    """A case's name in Unicode's composed form, because macOS writes an accented letter as two characters.

    Bytes that are not UTF-8 and control characters, which are legal in file names, are escaped (``\\xfc``).
    """
    return unicodedata.normalize("NFC", printable(text))
