"""The mask files of a folder by case. Names only: nothing is opened."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Iterable, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files import nrrd
from semicml_tf.files.layouts import folder as folders
from semicml_tf.labels import LabelDefinition

_DICOM = ".dcm"
_LISTED = 5


@dataclasses.dataclass(frozen=True)
class MaskFile:
    """The masks of a case.

    Attributes:
        case_id: name of the case.
        paths: the file, by the class that it is a mask of; of a file with all classes, by None.
    """

    case_id: str
    paths: dict[str | None, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """The masks of a folder.

    Attributes:
        files: by name of the case.
        missing: cases without a file.
        not_scored: names of files whose case is not scored, without their endings.
    """

    files: dict[str, MaskFile]
    missing: tuple[str, ...]
    not_scored: tuple[str, ...]


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a mask's name is that of a DICOM-SEG: no other format has it."""
    return _stem(path.name) is None or path.name.lower().endswith(_DICOM)


def is_nrrd(path: pathlib.Path) -> bool:
    """Whether a mask's name is that of an NRRD file."""
    return path.name.lower().endswith(nrrd.ENDINGS)


def _stem(name: str) -> str | None:
    """A mask's name without its ending; None of a file that is no mask, such as a tool's log."""
    if folders.is_nifti(name):
        return folders.stem(name)
    ending = next((end for end in (*nrrd.ENDINGS, _DICOM) if name.lower().endswith(end)), None)
    if ending:
        return name[: -len(ending)]
    # Formats that are not read: they are refused where a case's mask is one.
    return os.path.splitext(name)[0] if folders.is_volume(name) else None


def find(
    folder: str | os.PathLike, wanted: Sequence[str], labels: LabelDefinition, other_cases: Collection[str] = ()
) -> MaskFolder:
    """Finds the mask files of cases.

    A case has the file ``CASE.nii.gz`` (or ``.nii``, ``.nrrd``, ``.seg.nrrd``, ``.dcm``), or the one file in a folder
    ``CASE``. Several regions may have a file each, ``CASE_REGION.nii.gz``, as prediction writes them.

    Args:
        wanted: names of the cases that are scored.
        labels: the classes of the dataset.
        other_cases: names of cases that are not scored.

    Raises:
        UserError: the folder is none, has no mask of any case, or has two files for one.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError("expected a folder of masks, got none", path=folder, remedy="Correct --masks")
    known = {*wanted, *other_cases}
    by_region = {} if labels.exclusive or len(labels.names) == 1 else {f"_{one}": one for one in labels.names}
    found: dict[str, dict[str | None, list[pathlib.Path]]] = {}
    unknown = []
    for name, path in _named(folder, known):
        case, one = name, None
        if name not in known:
            ending = next((end for end in by_region if name.endswith(end) and name.removesuffix(end) in known), None)
            case, one = (name.removesuffix(ending), by_region[ending]) if ending else (None, None)
        if case is None:
            unknown.append(name)
        else:
            found.setdefault(case, {}).setdefault(one, []).append(path)
    files = {case: _checked(case, found[case], labels) for case in wanted if case in found}
    if not files:
        names = unknown or sorted(found)
        shown = f"masks of {', '.join(names[:_LISTED])}" if names else "no mask"
        raise UserError(
            f"expected masks named after the cases, e.g. {wanted[0]}.nii.gz, got {shown}",
            path=folder,
            remedy="Name each mask after its case, or choose the --partition that the masks are of",
        )
    rest = sorted({*unknown, *(case for case in found if case not in files)})
    return MaskFolder(files, tuple(case for case in wanted if case not in files), tuple(rest))


def _named(folder: pathlib.Path, known: Collection[str]) -> Iterable[tuple[str, pathlib.Path]]:
    """Names of cases, or of whatever masks are named after, and the masks."""
    inner, files = folders.entries(folder)
    for file in files:
        if (name := _stem(file)) is not None:
            yield folders.case_name(name), folder / file
    for name in inner:
        case = folders.case_name(name)
        if case in known:
            own = folders.entries(folder / name)[1]
            for file in [file for file in own if _stem(file) is not None] or own:
                yield case, folder / name / file


def _checked(case: str, paths: dict[str | None, list[pathlib.Path]], labels: LabelDefinition) -> MaskFile:
    for own in paths.values():
        if len(own) > 1:
            raise _several(case, own)
    single = {one: own[0] for one, own in paths.items()}
    if None in single and len(single) > 1:
        raise _several(case, list(single.values()))
    lacking = [one for one in labels.names if one not in single]
    if None not in single and lacking:
        raise UserError(
            f"case {case} has masks of {', '.join(single)}, but none of {', '.join(lacking)}",
            path=next(iter(single.values())),
            remedy="Add the masks that are missing; where a region is absent, an empty one",
        )
    return MaskFile(case, single)


def _several(case: str, paths: Sequence[pathlib.Path]) -> UserError:
    others = ", ".join(path.name for path in paths[1:])
    return UserError(
        f"case {case} has several masks: this one and {others}", path=paths[0], remedy="Remove all but one of them"
    )
