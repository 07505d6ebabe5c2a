"""The Brain Imaging Data Structure: ``sub-01/[ses-1/]anat/sub-01_[ses-1_]T2w.nii.gz``, labels among the derivatives.

The suffix of a file is its modality: T1w (with ``ce-``: t1ce), T2w, FLAIR, pet, ct, others in lower case. A label is
``derivatives/*/sub-01/[ses-1/]*/sub-01_*_dseg.nii.gz`` or ``_mask.nii.gz``. Names with ``label-lesion`` are preferred.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names, summary
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile, Refused, Source

NAME = "bids"
DESCRIPTION = "sub-*/[ses-*/]anat/*_T2w.nii.gz, pet/*_pet.nii.gz, derivatives/*/sub-*/**/*_dseg.nii.gz (BIDS)"
_LABELS = ("dseg", "mask")
# Where a subject's images lie, and the modality that the folder's name would suggest for a missing one.
_DATA_TYPES = {"anat": ("T1w", "T2w", "FLAIR"), "pet": ("pet",), "ct": ("ct",)}
_SUFFIXES = {"t1": "T1w", "t1ce": "ce-contrast_T1w", "t2": "T2w", "flair": "FLAIR", "pet": "pet", "ct": "ct"}
# Masks of anatomy, not of lesions, from common pipelines.
_ANATOMY = re.compile(r"_(desc-(brain|preproc|aseg|aparcaseg|carpet\w*)|label-(brain|CSF|GM|WM|BG))_", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class _Study:
    """A session of a subject, or the whole subject without sessions; `place` is its folder."""

    subject: str
    session: str
    place: pathlib.Path

    @property
    def name(self) -> str:
        return f"{self.subject}_{self.session}" if self.session else self.subject


def _parts(folder: pathlib.Path, start: str) -> list[str]:
    return [name for name in folders.entries(folder)[0] if name.startswith(start)]


def _studies(root: pathlib.Path) -> Iterator[_Study]:
    for subject in _parts(root, "sub-"):
        sessions = _parts(root / subject, "ses-")
        for session in sessions:
            yield _Study(subject, session, root / subject / session)
        if not sessions:
            yield _Study(subject, "", root / subject)


def _modality(name: str) -> str | None:
    """The usual name of a file's modality; None for masks, which BIDS allows beside images."""
    *entities, suffix = folders.stem(name).split("_")
    if suffix in _LABELS or suffix == "defacemask":
        return None
    ours = modality_names.canonical(suffix)
    return "t1ce" if ours == "t1" and any(entity.startswith("ce-") for entity in entities) else ours


def _images(study: _Study) -> dict[str, list[pathlib.Path]]:
    """All images of a study, by the usual name of their modality."""
    images: dict[str, list[pathlib.Path]] = {}
    for data_type in _DATA_TYPES:
        for name in folders.nifti_files(study.place / data_type):
            if name.startswith(study.subject + "_") and (modality := _modality(name)):
                images.setdefault(modality, []).append(study.place / data_type / name)
    return images


def _labels(root: pathlib.Path, study: _Study) -> list[pathlib.Path]:
    """All files of the derivatives that may be the label of a study."""
    labels = []
    for pipeline in folders.entries(root / "derivatives")[0]:
        place = root / "derivatives" / pipeline / study.subject / study.session
        for folder in (place, *(place / name for name in folders.entries(place)[0] if not name.startswith("ses-"))):
            for name in folders.nifti_files(folder):
                *_, suffix = folders.stem(name).split("_")
                if name.startswith(study.name + "_") and suffix in _LABELS and not _ANATOMY.search(name):
                    labels.append(folder / name)
    return labels


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return root.is_dir() and any(_images(study) for study in _studies(root))


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that at least one case has."""
    return tuple(sorted({modality for study in _studies(root) for modality in _images(study)}))


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What the folder contains, in one sentence; raises as `find`."""
    return summary.describe("BIDS", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The images of unknown modality, and the labels of subjects without images; see `catalogue.choose`."""
    studies = list(_studies(root))
    images = {study: {path for paths in _images(study).values() for path in paths} for study in studies}
    places = [(study, study.place / data_type) for study in studies for data_type in _DATA_TYPES]
    files = [path for study, place in places for path in folders.volumes([place]) if path not in images[study]]
    files = [path for path in files if not folders.stem(path.name).endswith("_defacemask")]
    labelled = {
        _Study(subject, session, root / subject / session)
        for pipeline in folders.entries(root / "derivatives")[0]
        for subject in _parts(root / "derivatives" / pipeline, "sub-")
        for session in ("", *_parts(root / "derivatives" / pipeline / subject, "ses-"))
    }
    without_images = sorted((study for study in labelled if not images.get(study)), key=lambda study: study.name)
    files += [path for study in without_images for path in _labels(root, study)]
    return summary.unclaimed([], files, DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the studies, sorted by name: a case is a session, a patient is a subject.

    Args:
        root: folder of the subjects' folders.
        modalities: names to look for.
        options: the user's choices for the folder. `label_roi` is searched for in the labels' file names.

    Raises:
        UserError: no study has a modality. If a study has several files of a modality or label, reading it raises the
            error.
    """
    studies = [(study, images) for study in _studies(root) if (images := _images(study))]
    available = tuple(sorted({modality for _, images in studies for modality in images}))
    wanted = modality_names.among(modalities, available, layout=NAME, path=root)
    cases = [_case(root, study, images, wanted, options) for study, images in studies]
    return sorted(cases, key=lambda case: case.case_id)


def _case(root, study: _Study, images: Mapping[str, list], wanted: Mapping[str, str], options) -> CaseFiles:
    sources = {}
    for name, ours in wanted.items():
        paths = images.get(ours) or [_expected(study, ours)]
        several = _several(f"of '{ours}'", study, paths, "list the cases in a CSV manifest")
        sources[name] = NiftiFile(paths[0]) if len(paths) == 1 else several
    return CaseFiles(
        folders.case_name(study.name),
        images=sources,
        label=_label(root, study, options),
        patient_id=folders.case_name(study.subject),
    )


def _expected(study: _Study, modality: str) -> pathlib.Path:
    """The expected path of a missing file of a modality."""
    suffix = _SUFFIXES.get(modality, modality)
    data_type = next((name for name, suffixes in _DATA_TYPES.items() if suffix in suffixes), "anat")
    return study.place / data_type / f"{study.name}_{suffix}.nii.gz"


def _label(root: pathlib.Path, study: _Study, options: LayoutOptions) -> Source | None:
    paths = _labels(root, study)
    if options.label_roi:
        try:
            pattern = re.compile(options.label_roi)
        except re.error as error:
            raise UserError(f"--label_roi is no regular expression ({error})", remedy="Correct it") from error
        paths = [path for path in paths if pattern.search(path.name)]
    lesions = [path for path in paths if "_label-lesion_" in path.name]
    paths = lesions or paths
    if len(paths) > 1:
        return _several("that may be its label", study, paths, "choose one by --label_roi=REGULAR_EXPRESSION")
    return NiftiFile(paths[0]) if paths else None


def _several(description: str, study: _Study, paths: Sequence[pathlib.Path], remedy: str) -> Refused:
    names = ", ".join(path.name for path in paths)
    return Refused(
        paths[0].parent,
        f"case {study.name} has {len(paths)} files {description}: {names}",
        f"Keep one of them, or {remedy}",
    )
