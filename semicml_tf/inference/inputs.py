"""Which cases a prediction's ``--input`` means: files, folders of files or of DICOM series, or a converted input."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, csv_manifest, deliveries, dicom
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts.modality_names import canonical
from semicml_tf.files.nifti.reader import MOST_VOXELS
from semicml_tf.files.source import NiftiFile, Source, limited

NIFTI_ENDINGS = (".nii.gz", ".nii")
_LONGEST_NAME = 255  # bytes
_EXAMPLE = "For example --input=ct=ct.nii.gz,pet=pet.nii.gz"


@dataclasses.dataclass(frozen=True)
class Case:
    """What is segmented at once.

    Attributes:
        name: of the case: of its output, too.
        images: by modality, the path of a NIfTI file or of a folder that holds a DICOM series.
        lacks: modalities that have no image of this name.
        sources: by modality, where a layout of conversion names the images; they go before `images`.
        most_voxels: a volume of more is refused.
        doubles: by modality, further images of the same name; the case then fails.
    """

    name: str
    images: Mapping[str, pathlib.Path]
    lacks: tuple[str, ...] = ()
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    most_voxels: int = MOST_VOXELS
    doubles: Mapping[str, tuple[pathlib.Path, ...]] = dataclasses.field(default_factory=dict)

    def source(self, modality: str) -> Source:
        """The image of a modality.

        Raises:
            UserError: it is not there, several images have its name, or its folder holds no one series of the modality.
        """
        if modality in self.doubles:
            others = ", ".join(path.name for path in self.doubles[modality])
            raise UserError(
                f"several images of '{modality}' are named {self.name}: this one and {others}",
                path=self.images[modality],
                remedy="Remove or rename all but one of them",
            )
        if modality in self.lacks:
            raise UserError(
                f"case {self.name} lacks its image of '{modality}'", remedy=f"Add it to the input named {modality}=..."
            )
        path = self.images[modality]
        source = self.sources.get(modality) or (_series(path, modality) if os.path.isdir(path) else NiftiFile(path))
        return limited(source, self.most_voxels)


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
    if os.path.exists(text):
        return [(None, text)]
    pairs: list[tuple[str | None, str]] = []
    for item in text.split(","):
        match = None if os.path.exists(item) else re.fullmatch(r"(\w+)=(.+)", item)
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
    return folders.stem(path.name)


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The volumes of a folder and its folders that hold DICOM; the folder itself where it holds DICOM files.

    Volumes in other formats than NIfTI count: their cases fail, and are not left out in silence.
    """
    files = folders.volumes([folder])
    names = {path.name for path in files}
    halves = {re.sub(r"\.hdr", ".img", name, flags=re.IGNORECASE) for name in names if ".hdr" in name.lower()}
    found = [path for path in files if path.name not in halves]
    inner = (folder / name for name in folders.entries(folder)[0])
    found += [place for place in inner if dicom.detect(place)]
    if not found and dicom.detect(folder):
        return [folder]
    return found


def _unmarked(name: str, modality: str) -> str | None:
    """A name without the modality at its end (``P01_ct``, ``P01__PT``); None where it does not end so."""
    rest, bar, ending = name.rpartition("_")
    return rest.rstrip("_") if bar and rest.strip("_") and canonical(ending) == canonical(modality) else None


def _of_modality(paths: Sequence[pathlib.Path], modality: str, named: bool) -> dict[str, list[pathlib.Path]]:
    """Images by the names of their cases.

    Where the user names modalities and there are files that bear theirs at the end of their names, those are meant.
    """
    images = []
    for path in paths:
        images += _images_in(path) if os.path.isdir(path) else [path]
    names = [(_unmarked(plain_name(path), modality) if named else None, path) for path in images]
    marked = [(name, path) for name, path in names if name]
    found: dict[str, list[pathlib.Path]] = {}
    for name, path in marked or [(plain_name(path), path) for path in images]:
        found.setdefault(name, []).append(path)
    if not found:
        raise UserError(
            "expected NIfTI files or DICOM series in this folder, got none", path=paths[0], remedy="Check --input"
        )
    return found


def of_layout(text: str, modalities: Sequence[str]) -> list[Case] | None:
    """The cases of a CSV manifest, or of a folder in one of conversion's layouts, as conversion finds them.

    Args:
        text: ``--input``.
        modalities: of the models.

    Returns:
        The cases, by name; None where `text` is no such path. A folder that itself holds volumes or DICOM is none.

    Raises:
        UserError: as the layout; nothing is opened.
    """
    path = pathlib.Path(text)
    if os.path.isdir(path) and deliveries.is_there(path):
        layout = deliveries.choose(path, replace=True)
    elif csv_manifest.detect(path) or (os.path.isdir(path) and not _images_in(path) and catalogue.detected(path)):
        layout = catalogue.choose(catalogue.AUTO, path)
    else:
        return None
    return [
        Case(
            case.case_id,
            {name: source.path for name, source in case.images.items()},
            tuple(name for name in modalities if name not in case.images),
            case.images,
        )
        for case in layout.find(path, modalities)
    ]


def left_out(paths: Mapping[str, tuple[pathlib.Path, ...]], cases: Sequence[Case]) -> list[pathlib.Path]:
    """The volumes in the folders of ``--input`` that no case has, since their names bear another modality or none."""
    given = [path for of_modality in paths.values() for path in of_modality if os.path.isdir(path)]
    taken = {path for case in cases for path in case.images.values()}
    taken |= {path for case in cases for doubles in case.doubles.values() for path in doubles}
    return sorted({image for folder in given for image in _images_in(folder)} - taken)


def check_names(cases: Sequence[Case], ending: str) -> None:
    """Refuses cases whose outputs no file system can hold, before any work is done.

    Raises:
        UserError: a name holds a separator, or is too long with `ending`.
    """
    for case in cases:
        name = case.name + ending
        if "/" in case.name or "\0" in case.name or case.name in ("", ".", ".."):
            raise UserError(f"no file can be named after case '{case.name}'", remedy="Rename the case")
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise UserError(
                f"the name of case {case.name} is too long: {name} has more than {_LONGEST_NAME} bytes",
                remedy="Rename its file",
            )


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
        UserError: a path is not there, or holds nothing.
    """
    for given in paths.values():
        for path in given:
            if not os.path.exists(path):
                raise UserError("there is no such file or folder", path=path, remedy="Check --input")
    found = {name: _of_modality(given, name, named) for name, given in paths.items()}
    names = sorted(set().union(*found.values()))
    return [
        Case(
            name,
            {modality: images[name][0] for modality, images in found.items() if name in images},
            tuple(modality for modality, images in found.items() if name not in images),
            doubles={
                modality: tuple(images[name][1:]) for modality, images in found.items() if len(images.get(name, ())) > 1
            },
        )
        for name in names
    ]
