"""The layout of a DICOM archive: a tree of files with any names.

A case is a study. Headers tell the modality of a series: CT is ``ct``, PT is ``pet``, and any other name (``t1``,
``t2``, ``mr``) is an MR series. If a study has several series of a modality, ``--dicom_series=t2=REGEX`` chooses one
by its SeriesDescription.

The label is the first of these that exists:

* a NIfTI file ``labels/NAME.nii`` or ``.nii.gz`` in the root. NAME is the PatientID (if the patient has one study) or
  the StudyInstanceUID;
* a NIfTI file ``label.nii`` or ``.nii.gz`` in the folder of the study's images, if no other study has files there;
* DICOM-SEG and RTSTRUCT objects of the study.

Cases are named by PatientID and UIDs. Conversion replaces these names before it writes anything.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.dicom import scan as dicom_scan
from semicml_tf.files.dicom import series as dicom_series
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.scan import Header
from semicml_tf.files.dicom.series import DicomSeries
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import summary
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile, Refused, Source
from semicml_tf.preprocessing.normalisation import canonical

NAME = "dicom"
BY_CONTENT = True
DESCRIPTION = "any tree of DICOM files (CT, MR, PET), labels as DICOM-SEG, RTSTRUCT or labels/PATIENT.nii.gz"

_CODES = {"ct": "CT", "pet": "PT"}
_ENDINGS = (".nii.gz", ".nii")
_LISTED = 20  # largest number of descriptions in a message


def detect(root: pathlib.Path) -> bool:
    """Whether `root` contains a DICOM file, at any depth."""
    return root.is_dir() and any(dicom_scan.is_dicom(path) for path in dicom_scan.files(root))


def holds_patient_names(root: pathlib.Path) -> bool:
    """Whether names and paths may contain names of patients, and must not be printed. Opens no file."""
    return True


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities in the folder. MR is one modality, because headers do not distinguish T1 from T2."""
    codes = {header.modality for header in dicom_scan.scan(root).headers}
    return tuple(name for name, code in (*_CODES.items(), ("mr", "MR")) if code in codes)


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What the folder contains, in one sentence; raises as `find`."""
    named = [name for name in options.dicom_series if _code(name) == "MR"]
    names = [name for name in modalities(root) if name in _CODES or not named] + named
    return summary.describe("DICOM", find(root, names, options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The labels that no case uses; see `catalogue.choose`."""
    used: set[pathlib.Path] = set()
    for case in find(root, asked, options):
        if case.label is not None:
            used.update(case.label.files if isinstance(case.label, DicomLabel) else (case.label.path,))
    objects = [header.path for header in dicom_scan.scan(root).headers if header.modality in dicom_scan.LABELS]
    return [
        summary.Oddity(
            "unclaimed_file",
            path,
            "no case uses this label: its images are missing, it refers to other series, or there is a NIfTI label",
            "Add its images, correct the name of the NIfTI label, or move it out of this folder",
        )
        for path in (*objects, *folders.volumes([root / "labels"]))
        if path not in used
    ]


def _code(name: str) -> str:
    """The DICOM code of a modality name in any spelling. All unknown names are MR."""
    return _CODES.get(canonical(name), "MR")


def _pattern(text: str, flag: str) -> re.Pattern:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UserError(f"--{flag}: '{text}' is no regular expression ({error})", remedy="Correct it") from error


def _candidates(series: Mapping[str, list[Header]], code: str) -> list[list[Header]]:
    """Series of a modality, sorted by number."""
    candidates = [headers for headers in series.values() if headers[0].modality == code]
    # Scanners also export PET without attenuation correction, which cannot be converted to SUV.
    corrected = [headers for headers in candidates if not headers[0].corrected or "ATTN" in headers[0].corrected]
    return sorted(corrected or candidates, key=lambda headers: (headers[0].number, headers[0].series))


def _image(name: str, series, pattern: re.Pattern | None, scan: dicom_scan.Scan, folder) -> Source | None:
    """The series of modality `name`; None if the study has none."""
    code = _code(name)
    candidates = _candidates(series, code)
    chosen = [headers for headers in candidates if pattern.search(headers[0].description)] if pattern else candidates
    if not chosen:
        if not candidates or code == "MR":  # other MR series have another contrast, so this one is missing
            return None
        return Refused(
            folder,
            f"no {code} series matches '{pattern.pattern}', got {'; '.join(map(dicom_series.describe, candidates))}",
            f"Extend the expression, e.g. --dicom_series={name}=FIRST|SECOND",
        )
    if len(chosen) == 1:
        return dicom_series.from_headers(chosen[0], scan.damaged)
    matching = f" that match '{pattern.pattern}'" if pattern else ""
    listed = "; ".join(map(dicom_series.describe, chosen))
    return Refused(
        folder,
        f"expected one {code} series for '{name}', got {len(chosen)}{matching}: {listed}",
        f"Pass --dicom_series={name}=REGEX that matches the SeriesDescription of one of them",
    )


def _check_patterns(patterns: Mapping[str, re.Pattern], headers: Sequence[Header], root: pathlib.Path) -> None:
    """Raises `UserError` if an expression matches no series of its modality in any study."""
    for name, pattern in patterns.items():
        code = _code(name)
        descriptions = sorted({header.description for header in headers if header.modality == code})
        if descriptions and not any(map(pattern.search, descriptions)):
            listed = ", ".join(f"'{text}'" for text in descriptions[:_LISTED])
            listed += ", ..." if len(descriptions) > _LISTED else ""
            raise UserError(
                f"--dicom_series={name}={pattern.pattern} matches no {code} series, got {listed}",
                path=root,
                remedy="Correct the expression",
            )


def _images(modalities, series, patterns, scan: dicom_scan.Scan, folder: pathlib.Path) -> dict[str, Source]:
    """The images of a study by modality, without missing ones. No series is used for two modalities."""
    candidates = {name: _image(name, series, patterns.get(name), scan, folder) for name in modalities}
    images = {name: source for name, source in candidates.items() if source is not None}
    name_of: dict[str, str] = {}
    for name, source in list(images.items()):
        if not isinstance(source, DicomSeries):
            continue
        other = name_of.setdefault(source.series_uid, name)
        if other != name:
            listed = dicom_series.describe(series[source.series_uid])
            problem = f"one series would be both '{other}' and '{name}': {listed}"
            remedy = f"Pass --dicom_series={other}=REGEX and --dicom_series={name}=REGEX with different expressions"
            images[other] = images[name] = Refused(folder, problem, remedy)
    return images


def _drawn_on(labels: list[Header], series, images: Mapping[str, Source]) -> DicomSeries | None:
    """The series on which the label objects were drawn, by their references or their frame of reference."""
    for reference in (uid for label in labels for uid in label.references):
        if reference in series:
            return dicom_series.from_headers(series[reference])
    frames = {label.frame_of_reference for label in labels} - {""}
    for source in images.values():
        if isinstance(source, DicomSeries) and series[source.series_uid][0].frame_of_reference in frames:
            return source
    return None


def _dicom_label(
    labels: list[Header], series, images: Mapping[str, Source], options: LayoutOptions
) -> tuple[Source, Source] | None:
    """The label and the source of its grid; None without label objects."""
    chosen = {source.series_uid for source in images.values() if isinstance(source, DicomSeries)}
    on_images = [label for label in labels if chosen & set(label.references)]
    labels = on_images or labels
    if not labels:
        return None
    drawn_on = _drawn_on(labels, series, images)
    label = DicomLabel.of(tuple(header.path for header in labels), drawn_on, options)
    return label, drawn_on or label


def _nifti_label(root: pathlib.Path, names: Sequence[str], folder: pathlib.Path, is_alone: bool) -> NiftiFile | None:
    """The NIfTI label of a study; `is_alone`: whether no other study has files in `folder`."""
    places = [(root / "labels", name) for name in names] + ([(folder, "label")] if is_alone else [])
    labels = []
    for place, stem in places:
        # Names are compared, never joined to a path, because an id may contain a slash.
        entries = {entry.name: entry for entry in place.iterdir()} if place.is_dir() else {}
        labels += [entries[stem + ending] for ending in _ENDINGS if stem + ending in entries]
    if len(labels) > 1:
        raise UserError("a study has two NIfTI labels, this one and another", path=labels[1], remedy="Remove one")
    return NiftiFile(labels[0]) if labels else None


def _folders(studies: Mapping[str, list[Header]]) -> dict[str, tuple[pathlib.Path, bool]]:
    """For each study, the innermost folder with all of its images, and whether no other study has images there."""
    shared = {uid: dicom_series.common_folder([header.path for header in headers]) for uid, headers in studies.items()}
    studies_in: dict[pathlib.Path, set[str]] = {}
    for uid, headers in studies.items():
        for folder in {header.path.parent for header in headers}:
            for ancestor in (folder, *folder.parents):
                studies_in.setdefault(ancestor, set()).add(uid)
    return {uid: (folder, studies_in[folder] == {uid}) for uid, folder in shared.items()}


def _studies(scan: dicom_scan.Scan) -> tuple[dict[str, list[Header]], dict[str, list[Header]]]:
    """Images by StudyInstanceUID, and labels by the StudyInstanceUID of their images."""
    images: dict[str, list[Header]] = {}
    for header in scan.headers:
        if header.modality in dicom_scan.IMAGES:
            images.setdefault(header.study, []).append(header)
    # Labels are often in a separate study. The series to which they refer determines the case.
    study_of = {header.series: study for study, headers in images.items() for header in headers}
    labels: dict[str, list[Header]] = {}
    for header in scan.headers:
        if header.modality in dicom_scan.LABELS:
            study = next((study_of[uid] for uid in header.references if uid in study_of), header.study)
            labels.setdefault(study, []).append(header)
    return images, labels


def _check_owners(images: Mapping[str, list[Header]]) -> None:
    """Raises `UserError` if a study does not have exactly one PatientID."""
    for headers in images.values():
        if not headers[0].patient or len({header.patient for header in headers}) > 1:
            received = "none" if not headers[0].patient else "several"
            raise UserError(
                f"expected a study with one PatientID, got {received}",
                path=headers[0].path,
                remedy="Give each patient a unique PatientID (0010,0020): the split assigns whole patients",
            )


def _check_damaged(scan: dicom_scan.Scan, images: Mapping[str, list[Header]]) -> None:
    """Raises `UserError` for a damaged file in a folder without images. In other folders, only its series fails."""
    image_folders = {header.path.parent for headers in images.values() for header in headers}
    for path in scan.damaged:
        if path.parent not in image_folders:
            raise UserError("this DICOM file is empty or damaged", path=path, remedy="Copy it again, or remove it")


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the studies, sorted by patient, then by time.

    Reads the headers of all files. Of labels, only the references to images are read, not the masks, contours or
    names.

    Args:
        root: folder of the tree.
        modalities: names to look for.
        options: the user's choices for the folder.

    Raises:
        UserError: a study has no PatientID or several, an expression is invalid or matches no series, or a damaged
            file belongs to no known series.
    """
    # Expressions for other modalities are kept out: they may select the image on which a label was drawn.
    named = {name: text for name, text in options.dicom_series.items() if name in modalities}
    patterns = {name: _pattern(text, "dicom_series") for name, text in named.items()}
    _pattern(options.label_roi, "label_roi")
    scan = dicom_scan.scan(root)
    images, labels = _studies(scan)
    _check_patterns(patterns, scan.headers, root)
    if not images:
        raise UserError("the folder has no DICOM image of CT, MR or PET", path=root, remedy="Check --input")
    _check_owners(images)
    _check_damaged(scan, images)
    folders = _folders(images)
    by_patient: dict[str, list[str]] = {}
    for uid in sorted(images, key=lambda uid: (images[uid][0].study_time, uid)):
        by_patient.setdefault(images[uid][0].patient, []).append(uid)
    cases = []
    for patient, uids in sorted(by_patient.items()):
        for uid in uids:
            folder, is_alone = folders[uid]
            series = dicom_scan.by_series(tuple(images[uid]))
            sources = _images(modalities, series, patterns, scan, folder)
            names = [patient, uid] if len(uids) == 1 else [uid]
            label: Source | None = _nifti_label(root, names, folder, is_alone)
            label_on = None
            if label is None:
                label, label_on = _dicom_label(labels.get(uid, []), series, sources, options) or (None, None)
            cases.append(
                CaseFiles(
                    case_id=patient if len(uids) == 1 else f"{patient}_{uid}",
                    images=sources,
                    label=label,
                    label_on=label_on,
                    patient_id=patient,
                )
            )
    return cases
