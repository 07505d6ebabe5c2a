"""Which cases a prediction's ``--input`` means: a file, several, folders of files or of DICOM series."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files import dicom
from semicml_tf.files.modality_names import canonical
from semicml_tf.files.source import NiftiFile, Source

NIFTI_ENDINGS = (".nii.gz", ".nii")
_EXAMPLE = "For example --input=ct=ct.nii.gz,pet=pet.nii.gz"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is segmented at once.

    Attributes:
        name: of the case: of its output, too.
        images: by modality, the path of a NIfTI file or of a folder that holds a DICOM series.
        lacks: modalities that have no image of this name.
    """

    name: str
    images: Mapping[str, pathlib.Path]
    lacks: tuple[str, ...] = ()

    def source(self, modality: str) -> Source:
        """The image of a modality.

        Raises:
            UserError: it is not there, or its folder holds no one series of the modality.
        """
        if modality in self.lacks:
            raise UserError(
                f"case {self.name} lacks its image of '{modality}'", remedy=f"Add it to the folder named {modality}=..."
            )
        path = self.images[modality]
        return _series(path, modality) if path.is_dir() else NiftiFile(path)


def _series(folder: pathlib.Path, modality: str) -> Source:
    studies = dicom.find(folder, (modality,))
    if len(studies) > 1:
        raise UserError(
            f"expected one study, got {len(studies)}", path=folder, remedy="Pass the folder of one series or study"
        )
    if modality not in studies[0].images:
        there = " and ".join(dicom.modalities(folder))
        raise UserError(
            f"expected a DICOM series of '{modality}', got {there}",
            path=folder,
            remedy="Pass the folder of such a series, or use the model of this one's modality",
        )
    return studies[0].images[modality]


def split_names(text: str) -> list[tuple[str | None, str]]:
    """``ct=a,ct=b`` as (name, path) pairs; the name of an item without one is None.

    What exists under the whole text, commas and equals signs included, is one path.

    Raises:
        UserError: an empty item, or some items with and some without a name.
    """
    if text and pathlib.Path(text).exists():
        return [(None, text)]
    pairs: list[tuple[str | None, str]] = []
    for item in text.split(","):
        match = None if pathlib.Path(item).exists() else re.fullmatch(r"(\w+)=(.+)", item)
        pairs.append((match[1], match[2]) if match else (None, item))
    if any(not path for _, path in pairs) or len({name is None for name, _ in pairs}) > 1:
        raise UserError(f"expected PATH,PATH or MODALITY=PATH,MODALITY=PATH, got '{text}'", remedy=_EXAMPLE)
    return pairs


def by_modality(text: str, modalities: Sequence[str]) -> dict[str, tuple[pathlib.Path, ...]]:
    """The paths of ``--input`` by the modality that they are of.

    Args:
        text: paths, of the only modality; or MODALITY=PATH of each.
        modalities: of the models.

    Raises:
        UserError: the names are not the models' modalities.
    """
    pairs = split_names(text)
    if pairs[0][0] is None:
        if len(modalities) > 1:
            raise UserError(
                f"expected an input of each of the models' modalities {', '.join(modalities)}, got '{text}'",
                remedy=_EXAMPLE,
            )
        pairs = [(modalities[0], path) for _, path in pairs]
    if {name for name, _ in pairs} != set(modalities):
        named = ", ".join(dict.fromkeys(name for name, _ in pairs))
        raise UserError(
            f"expected inputs of the models' modalities {', '.join(modalities)}, got {named}", remedy=_EXAMPLE
        )
    return {name: tuple(pathlib.Path(path) for key, path in pairs if key == name) for name in modalities}


def plain_name(path: pathlib.Path) -> str:
    """A file's name without NIfTI's ending; a folder's own."""
    return next((path.name[: -len(end)] for end in NIFTI_ENDINGS if path.name.endswith(end)), path.name)


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The NIfTI files of a folder and its folders that hold DICOM; the folder itself where it holds DICOM files."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    found = [entry for entry in entries if entry.is_file() and entry.name.endswith(NIFTI_ENDINGS)]
    found += [entry for entry in entries if entry.is_dir() and dicom.detect(entry)]
    if not found and dicom.detect(folder):
        return [folder]
    return found


def _unmarked(name: str, modality: str) -> str | None:
    """A name without the modality at its end (``P01_ct``, ``P01__PT``); None where it does not end so."""
    rest, bar, ending = name.rpartition("_")
    return rest.rstrip("_") if bar and rest.strip("_") and canonical(ending) == modality else None


def _of_modality(paths: Sequence[pathlib.Path], modality: str, named: bool) -> dict[str, pathlib.Path]:
    """Images by the names of their cases.

    Where the user names modalities and there are files that bear theirs at the end of their names, those are meant.
    """
    images = []
    for path in paths:
        images += _images_in(path) if path.is_dir() else [path]
    names = [(_unmarked(plain_name(path), modality) if named else None, path) for path in images]
    marked = [(name, path) for name, path in names if name]
    found: dict[str, pathlib.Path] = {}
    for name, path in marked or [(plain_name(path), path) for path in images]:
        if name in found:
            raise UserError(f"two images of '{modality}' are named {name}, this and {found[name]}", path=path)
        found[name] = path
    if not found:
        raise UserError(
            "expected NIfTI files or DICOM series in this folder, got none", path=paths[0], remedy="Check --input"
        )
    return found


def one_case(paths: Mapping[str, tuple[pathlib.Path, ...]]) -> Case:
    """The case of which each modality has one path; a folder is a DICOM series.

    Raises:
        UserError: a modality has several.
    """
    for name, given in paths.items():
        if len(given) > 1:
            raise UserError(
                f"expected one input of '{name}' for one output, got {len(given)}",
                remedy="Name a folder as --output",
            )
    return Case(plain_name(next(iter(paths.values()))[0]), {name: given[0] for name, given in paths.items()})


def several_cases(paths: Mapping[str, tuple[pathlib.Path, ...]], *, named: bool = True) -> list[Case]:
    """All cases of files and folders, by name; those of one name in several modalities are one case.

    Args:
        paths: files and folders by modality.
        named: whether the user named the modalities: files may then bear them (``P01_ct.nii.gz``).

    Raises:
        UserError: a path is not there, or holds nothing, or two images have one name.
    """
    for given in paths.values():
        for path in given:
            if not path.exists():
                raise UserError("there is no such file or folder", path=path, remedy="Check --input")
    found = {name: _of_modality(given, name, named) for name, given in paths.items()}
    names = sorted(set().union(*found.values()))
    return [
        Case(
            name,
            {modality: images[name] for modality, images in found.items() if name in images},
            tuple(modality for modality, images in found.items() if name not in images),
        )
        for name in names
    ]
