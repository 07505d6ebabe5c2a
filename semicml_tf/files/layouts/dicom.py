"""The layout of a DICOM archive: any tree of files, however named.

One case a study. Its series are told by their headers: CT is ``ct``, PT is ``pet``; any other name (``t1``, ``t2``,
``mr``) is an MR series. Where a study has several series that could be meant, ``--dicom_series=t2=REGEX`` chooses by
SeriesDescription.

The label is, in this order:

* a NIfTI file ``labels/NAME.nii`` or ``.nii.gz`` in the root, NAME being the PatientID (of a patient with one study)
  or the StudyInstanceUID;
* a NIfTI file ``label.nii`` or ``.nii.gz`` in the folder that holds the study's images, and no other study's;
* DICOM-SEG and RTSTRUCT objects of the study.

PatientID and UIDs name cases here; the converter replaces them before anything is written.
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
_LISTED = 20  # descriptions that a message lists


def detect(root: pathlib.Path) -> bool:
    """Whether `root` holds a DICOM file, at any depth."""
    return root.is_dir() and any(dicom_scan.is_dicom(path) for path in dicom_scan.files(root))


def holds_patient_names(root: pathlib.Path) -> bool:
    """Whether names and paths may be patients' own, and are not to be told. Opens nothing."""
    return True


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are; series of MR are one, since their headers do not tell T1 from T2."""
    there = {header.modality for header in dicom_scan.scan(root).headers}
    return tuple(name for name, code in (*_CODES.items(), ("mr", "MR")) if code in there)


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
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
            "no case uses this label: its images are not there, it refers to other series, or a NIfTI label goes first",
            "Add its images, correct the name of the NIfTI label, or move it out of this folder",
        )
        for path in (*objects, *folders.volumes([root / "labels"]))
        if path not in used
    ]


def _code(name: str) -> str:
    """DICOM's code of a modality, in any spelling of its name; series of MR have names of the user's own."""
    return _CODES.get(canonical(name), "MR")


def _pattern(text: str, flag: str) -> re.Pattern:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise UserError(f"--{flag}: '{text}' is no regular expression ({error})", remedy="Correct it") from error


def _candidates(series: Mapping[str, list[Header]], code: str) -> list[list[Header]]:
    found = [headers for headers in series.values() if headers[0].modality == code]
    # Scanners also write the PET that is not corrected for attenuation, which is no SUV.
    corrected = [headers for headers in found if not headers[0].corrected or "ATTN" in headers[0].corrected]
    return sorted(corrected or found, key=lambda headers: (headers[0].number, headers[0].series))


def _image(name: str, series, pattern: re.Pattern | None, scan: dicom_scan.Scan, folder) -> Source | None:
    """The series that is meant; None where the study has none."""
    code = _code(name)
    found = _candidates(series, code)
    chosen = [headers for headers in found if pattern.search(headers[0].description)] if pattern else found
    if not chosen:
        if not found or code == "MR":  # of MR series the others are other contrasts: this one is not there
            return None
        return Refused(
            folder,
            f"no {code} series matches '{pattern.pattern}'; there is {'; '.join(map(dicom_series.describe, found))}",
            f"Widen the expression, e.g. --dicom_series={name}=ONE|OTHER",
        )
    if len(chosen) == 1:
        return dicom_series.from_headers(chosen[0], scan.damaged)
    matching = f" that match '{pattern.pattern}'" if pattern else ""
    listed = "; ".join(map(dicom_series.describe, chosen))
    return Refused(
        folder,
        f"expected one {code} series for '{name}', got {len(chosen)}{matching}: {listed}",
        f"Pass --dicom_series={name}=REGEX that the SeriesDescription of the one that is meant matches",
    )


def _check_used(patterns: Mapping[str, re.Pattern], headers: Sequence[Header], root: pathlib.Path) -> None:
    """Refuses an expression that no series matches anywhere: it is a slip, and every case would lack the modality."""
    for name, pattern in patterns.items():
        code = _code(name)
        there = sorted({header.description for header in headers if header.modality == code})
        if there and not any(pattern.search(description) for description in there):
            listed = ", ".join(f"'{one}'" for one in there[:_LISTED]) + (", ..." if len(there) > _LISTED else "")
            raise UserError(
                f"--dicom_series={name}={pattern.pattern} matches no {code} series; there are {listed}",
                path=root,
                remedy="Correct the expression",
            )


def _images(modalities, series, patterns, scan: dicom_scan.Scan, folder: pathlib.Path) -> dict[str, Source]:
    looked = {name: _image(name, series, patterns.get(name), scan, folder) for name in modalities}
    found = {name: source for name, source in looked.items() if source is not None}
    taken: dict[str, str] = {}
    for name, source in list(found.items()):
        if not isinstance(source, DicomSeries):
            continue
        other = taken.setdefault(source.series_uid, name)
        if other != name:
            listed = dicom_series.describe(series[source.series_uid])
            problem = f"one series would be both '{other}' and '{name}': {listed}"
            remedy = f"Pass --dicom_series={other}=REGEX and --dicom_series={name}=REGEX that tell them apart"
            found[other] = found[name] = Refused(folder, problem, remedy)
    return found


def _drawn_on(labels: list[Header], series, images: Mapping[str, Source]) -> DicomSeries | None:
    """The series on whose grid the study's label objects were drawn: the one they refer to, or in its frame."""
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
    """The label and the source of the grid that it is on."""
    chosen = {source.series_uid for source in images.values() if isinstance(source, DicomSeries)}
    on_images = [label for label in labels if chosen & set(label.references)]
    labels = on_images or labels
    if not labels:
        return None
    drawn_on = _drawn_on(labels, series, images)
    label = DicomLabel.of(tuple(header.path for header in labels), drawn_on, options)
    return label, drawn_on or label


def _nifti_label(root: pathlib.Path, names: Sequence[str], folder: pathlib.Path, alone: bool) -> NiftiFile | None:
    places = [(root / "labels", name) for name in names] + ([(folder, "label")] if alone else [])
    found = []
    for place, stem in places:
        # Listed and compared, never joined to a path: an id may hold a slash.
        entries = {entry.name: entry for entry in place.iterdir()} if place.is_dir() else {}
        found += [entries[stem + ending] for ending in _ENDINGS if stem + ending in entries]
    if len(found) > 1:
        raise UserError("a study has two NIfTI labels, this one and another", path=found[1], remedy="Remove one")
    return NiftiFile(found[0]) if found else None


def _folders(studies: Mapping[str, list[Header]]) -> dict[str, tuple[pathlib.Path, bool]]:
    """For each study the folder that holds its images, and whether no other study has files in it."""
    shared = {uid: dicom_series.common_folder([header.path for header in headers]) for uid, headers in studies.items()}
    used: dict[pathlib.Path, set[str]] = {}
    for uid, headers in studies.items():
        for folder in {header.path.parent for header in headers}:
            for place in (folder, *folder.parents):
                used.setdefault(place, set()).add(uid)
    return {uid: (folder, used[folder] == {uid}) for uid, folder in shared.items()}


def _studies(scan: dicom_scan.Scan) -> tuple[dict[str, list[Header]], dict[str, list[Header]]]:
    """Images by the UID of their study, and labels by that of the study whose images they belong to."""
    images: dict[str, list[Header]] = {}
    for header in scan.headers:
        if header.modality in dicom_scan.IMAGES:
            images.setdefault(header.study, []).append(header)
    # Labels made later on often are in a study of their own: the series that they name tells whose they are.
    study_of = {header.series: study for study, headers in images.items() for header in headers}
    labels: dict[str, list[Header]] = {}
    for header in scan.headers:
        if header.modality in dicom_scan.LABELS:
            study = next((study_of[uid] for uid in header.references if uid in study_of), header.study)
            labels.setdefault(study, []).append(header)
    return images, labels


def _check_owners(images: Mapping[str, list[Header]]) -> None:
    for headers in images.values():
        if not headers[0].patient or len({header.patient for header in headers}) > 1:
            what = "no PatientID (0010,0020)" if not headers[0].patient else "several PatientID (0010,0020)"
            raise UserError(
                f"a study has {what}, so that nothing tells whose it is",
                path=headers[0].path,
                remedy="Give each patient one id of its own: the patient is the unit of every split",
            )


def _check_damaged(scan: dicom_scan.Scan, images: Mapping[str, list[Header]]) -> None:
    """Refuses damaged files beside no image; those beside one concern its series alone."""
    places = {header.path.parent for headers in images.values() for header in headers}
    for path in scan.damaged:
        if path.parent not in places:
            raise UserError("this DICOM file is empty or damaged", path=path, remedy="Copy it again, or remove it")


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the studies, sorted by patient, then by time.

    Reads the headers of all files. Of labels it reads what says which images they belong to, no mask, contour or name
    of a structure.

    Args:
        root: folder of the tree.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a study that does not tell its patient; an expression that is none, or that no series matches; a
            damaged file that cannot be told to belong to a series.
    """
    # Expressions for other modalities may be for an image that a label was drawn on.
    named = {name: text for name, text in options.dicom_series.items() if name in modalities}
    patterns = {name: _pattern(text, "dicom_series") for name, text in named.items()}
    _pattern(options.label_roi, "label_roi")
    scan = dicom_scan.scan(root)
    images, labels = _studies(scan)
    _check_used(patterns, scan.headers, root)
    if not images:
        raise UserError("the folder holds no DICOM image of CT, MR or PET", path=root, remedy="Check --input")
    _check_owners(images)
    _check_damaged(scan, images)
    folders = _folders(images)
    by_patient: dict[str, list[str]] = {}
    for uid in sorted(images, key=lambda uid: (images[uid][0].study_time, uid)):
        by_patient.setdefault(images[uid][0].patient, []).append(uid)
    cases = []
    for patient, uids in sorted(by_patient.items()):
        for uid in uids:
            folder, alone = folders[uid]
            series = dicom_scan.by_series(tuple(images[uid]))
            sources = _images(modalities, series, patterns, scan, folder)
            names = [patient, uid] if len(uids) == 1 else [uid]
            label: Source | None = _nifti_label(root, names, folder, alone)
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
