"""What lies in a folder, as layouts look at it: names only, nothing is opened."""

from __future__ import annotations

import itertools
import os
import pathlib
import unicodedata
from collections.abc import Collection, Iterable

from semicml_tf.errors import UserError, printable

ENDINGS = (".nii.gz", ".nii")
# File systems of other machines, and people, write endings in capital letters, too.
_SPELLINGS = tuple(
    "".join(letters)
    for ending in ENDINGS
    for letters in itertools.product(*(dict.fromkeys((letter, letter.upper())) for letter in ending))
)
# Endings of other formats that hold a volume. They are not read, and are reported where a case may miss them.
_OTHER_IMAGES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".nii.bz2", ".nii.zst", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz")


def entries(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in `folder`, each sorted.

    Hidden ones are left out, and with them the ``._NAME`` files that macOS leaves on other systems' disks. A link that
    leads nowhere, or round in a circle, counts as a file: it is named where it is missed.

    Raises:
        UserError: the folder cannot be read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as found:
            for entry in found:
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
    """Whether a file's name ends as those of NIfTI files, in small or capital letters."""
    return name.lower().endswith(ENDINGS)


def is_volume(name: str) -> bool:
    """Whether a file's name ends as those of volumes, in NIfTI or in a format that is not read here."""
    return is_nifti(name) or name.lower().endswith(_OTHER_IMAGES)


def nifti_files(folder: pathlib.Path) -> list[str]:
    """Names of the NIfTI files in `folder`, sorted."""
    return [name for name in entries(folder)[1] if is_nifti(name)]


def volumes(places: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The files of these folders whose names end as those of volumes, in any format."""
    return [folder / name for folder in places for name in entries(folder)[1] if is_volume(name)]


def stem(name: str) -> str:
    """A NIfTI file's name without its ending."""
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def existing_or_expected(folder: pathlib.Path, name: str, there: Collection[str]) -> pathlib.Path:
    """The file `name` with a NIfTI ending; if none is there, where it should be.

    Args:
        folder: that should hold it.
        name: without its ending.
        there: names of the files that `folder` holds.

    Raises:
        UserError: it is there with two endings (zipped and not), and nothing says which of them is meant.
    """
    found = [name + ending for ending in _SPELLINGS if name + ending in there]
    if len(found) > 1:
        raise UserError(
            f"'{name}' is there twice, with the endings {' and '.join(file[len(name) :] for file in found)}",
            path=folder / found[0],
            remedy=f"Remove it or {found[1]}",
        )
    if found:
        return folder / found[0]
    # Where the other files of the folder are not zipped, this one will not be either.
    zipped = any(other.endswith(ENDINGS[0]) for other in there) or not any(other.endswith(".nii") for other in there)
    return folder / (name + ENDINGS[0 if zipped else 1])


def case_name(text: str) -> str:
    """A case's name in one spelling: macOS writes an accented letter as two characters, a keyboard as one.

    Bytes that are not UTF-8 and control characters, both legal in names of files, are written out (``\\xfc``).
    """
    return unicodedata.normalize("NFC", printable(text))
