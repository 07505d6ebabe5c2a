"""Finds the mask files of each case by name. No file is opened."""

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
        paths: the files by class. The key is None for a file with all classes.
    """

    case_id: str
    paths: dict[str | None, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """The masks of a folder.

    Attributes:
        files: by name of the case.
        missing: cases without a file.
        not_scored: names without ending of the files whose case is not scored.
    """

    files: dict[str, MaskFile]
    missing: tuple[str, ...]
    not_scored: tuple[str, ...]


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a mask's name is that of a DICOM-SEG: with the ending .dcm, or with an unknown ending."""
    return _stem(path.name) is None or path.name.lower().endswith(_DICOM)


def is_nrrd(path: pathlib.Path) -> bool:
    """Whether a mask's name is that of an NRRD file."""
    return path.name.lower().endswith(nrrd.ENDINGS)


def _stem(name: str) -> str | None:
    """A mask's name without its ending; None for other files, such as a tool's log."""
    if folders.is_nifti(name):
        return folders.stem(name)
    ending = next((end for end in (*nrrd.ENDINGS, _DICOM) if name.lower().endswith(end)), None)
    if ending:
        return name[: -len(ending)]
    # Formats of volumes that are not supported: a case with such a mask is refused later.
    return os.path.splitext(name)[0] if folders.is_volume(name) else None


def find(
    folder: str | os.PathLike, wanted: Sequence[str], labels: LabelDefinition, other_cases: Collection[str] = ()
) -> MaskFolder:
    """Finds the mask files of cases.

    The mask of a case is the file ``CASE.nii.gz`` (or ``.nii``, ``.nrrd``, ``.seg.nrrd``, ``.dcm``), or the only file
    in a folder ``CASE``. Several regions may have one file each, ``CASE_REGION.nii.gz``, as prediction writes them.

    Args:
        wanted: names of the cases that are scored.
        labels: the classes of the dataset.
        other_cases: names of cases that are not scored.

    Raises:
        UserError: the folder does not exist, has no mask of any case, or has several masks of one case.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError("expected a folder of masks, got none", path=folder, remedy="Correct --masks")
    known = {*wanted, *other_cases}
    by_region = {} if labels.exclusive or len(labels.names) == 1 else {f"_{region}": region for region in labels.names}
    paths_by_case: dict[str, dict[str | None, list[pathlib.Path]]] = {}
    unknown = []
    for name, path in _named(folder, known):
        case, region = name, None
        if name not in known:
            ending = next((end for end in by_region if name.endswith(end) and name.removesuffix(end) in known), None)
            case, region = (name.removesuffix(ending), by_region[ending]) if ending else (None, None)
        if case is None:
            unknown.append(name)
        else:
            paths_by_case.setdefault(case, {}).setdefault(region, []).append(path)
    files = {case: _checked(case, paths_by_case[case], labels) for case in wanted if case in paths_by_case}
    if not files:
        names = unknown or sorted(paths_by_case)
        shown = f"masks of {', '.join(names[:_LISTED])}" if names else "no mask"
        raise UserError(
            f"expected masks named after the cases, e.g. {wanted[0]}.nii.gz, got {shown}",
            path=folder,
            remedy="Name each mask after its case, or choose the --partition that the masks are of",
        )
    rest = sorted({*unknown, *(case for case in paths_by_case if case not in files)})
    return MaskFolder(files, tuple(case for case in wanted if case not in files), tuple(rest))


def _named(folder: pathlib.Path, known: Collection[str]) -> Iterable[tuple[str, pathlib.Path]]:
    """Yields each mask file with the name of its case, or with its own name if that is not the name of a case."""
    inner, files = folders.entries(folder)
    for file in files:
        if (name := _stem(file)) is not None:
            yield folders.case_name(name), folder / file
    for name in inner:
        case = folders.case_name(name)
        if case in known:
            inner_files = folders.entries(folder / name)[1]
            for file in [file for file in inner_files if _stem(file) is not None] or inner_files:
                yield case, folder / name / file


def _checked(case: str, paths: dict[str | None, list[pathlib.Path]], labels: LabelDefinition) -> MaskFile:
    for class_paths in paths.values():
        if len(class_paths) > 1:
            raise _several(case, class_paths)
    single = {class_name: class_paths[0] for class_name, class_paths in paths.items()}
    if None in single and len(single) > 1:
        raise _several(case, list(single.values()))
    lacking = [class_name for class_name in labels.names if class_name not in single]
    if None not in single and lacking:
        raise UserError(
            f"case {case} has masks of {', '.join(single)}, but none of {', '.join(lacking)}",
            path=next(iter(single.values())),
            remedy="Add the missing masks; an absent region needs an empty mask",
        )
    return MaskFile(case, single)


def _several(case: str, paths: Sequence[pathlib.Path]) -> UserError:
    others = ", ".join(path.name for path in paths[1:])
    return UserError(
        f"case {case} has several masks: this one and {others}", path=paths[0], remedy="Remove all but one of them"
    )
