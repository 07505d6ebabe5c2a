"""Scans a tree of DICOM files: reads every header once, and no pixels."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator

from semicml_tf.files.dicom import libraries as library
from semicml_tf.system import file_kind

IMAGES = ("CT", "MR", "PT")
LABELS = ("SEG", "RTSTRUCT")

_MARK = b"DICM"
_SUFFIXES = (".dcm", ".dicom", ".ima")
_OTHERS = (".nii", ".gz", ".json", ".csv", ".txt", ".md", ".tsv", ".xml", ".pdf", ".png", ".jpg", ".zip", ".tfrecord")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# CT, MR and PET (classic, enhanced, legacy converted); segmentations; structure sets. Others are no sources: reports,
# plans, raw data, spectra, palettes, DICOMDIR.
_KINDS = {_STORAGE + end for end in "2 2.1 2.2 4 4.1 4.3 4.4 128 128.1 130 66.4 66.7 481.3".split()}
# Some programs write volumes as secondary captures; screenshots and dose reports are such, too, but lie nowhere.
_CAPTURES = {_STORAGE + end for end in "7 7.1 7.2 7.3 7.4".split()}
_THREADS = 8  # they wait for the disk, and for network disks above all
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "StudyDate",
    "StudyTime",
    "Modality",
    "PatientID",
    "ImageType",
    "CorrectedImage",
    "FrameOfReferenceUID",
    "Rows",
    "SamplesPerPixel",
    "ImagePositionPatient",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
)


@dataclasses.dataclass(frozen=True)
class Header:
    """What one file says of itself.

    Attributes:
        path: the file.
        modality: the DICOM code.
        patient, study, series: PatientID and UIDs, as they stand.
        study_time: by which a patient's studies are sorted.
        number: of the series; -1 where it has none.
        description: of the series.
        frame_of_reference: UID; "" if none.
        corrected: what a PET is corrected for.
        references: UIDs of the series that a label was drawn on.
    """

    path: pathlib.Path
    modality: str
    patient: str
    study: str
    series: str
    study_time: str
    number: int
    description: str
    frame_of_reference: str
    corrected: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scan:
    """A tree's images and labels.

    Attributes:
        headers: in the order of their paths; localizers, DICOMDIR and what is neither image nor label left out.
        damaged: files that are named or marked as DICOM and cannot be read.
    """

    headers: tuple[Header, ...]
    damaged: tuple[pathlib.Path, ...]


def files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """All regular files under `root` in a fixed order, links followed, each folder visited once."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to a folder above, or a second way to one
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if not name.startswith(".") and name.upper() != "DICOMDIR" and not file_kind.irregular(path):
                yield path


def is_dicom(path: pathlib.Path) -> bool:
    """Whether the file bears the mark of DICOM; False if it cannot be read."""
    if path.suffix.lower() in _OTHERS:
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == _MARK
    except OSError:
        return False


def _is_colour(dataset) -> bool:
    return (library.number(dataset, "SamplesPerPixel") or 1) > 1


def references(dataset) -> tuple[str, ...]:
    """UIDs of the series that a label object names."""
    found = [str(library.value(item, "SeriesInstanceUID")) for item in dataset.get("ReferencedSeriesSequence") or ()]
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                found.append(str(library.value(series, "SeriesInstanceUID")))
    return tuple(dict.fromkeys(found))


def words(dataset, keyword: str) -> tuple[str, ...]:
    """A tag's texts, however many."""
    found = library.value(dataset, keyword)
    return () if found is None else (found,) if isinstance(found, str) else tuple(found)


def _header(path: pathlib.Path) -> Header | pathlib.Path | None:
    """A file's header; its path where it is damaged; None if it is nothing that is looked for."""
    if not is_dicom(path):
        return path if path.suffix.lower() in _SUFFIXES else None
    try:
        return _told(path, library.read(path, tags=_TAGS))
    except Exception:  # a sequence that is cut off raises anything
        return path


def _told(path: pathlib.Path, dataset) -> Header | pathlib.Path | None:
    kinds = [str(dataset.file_meta.get("MediaStorageSOPClassUID") or ""), library.sop_class(dataset)]
    # Where the two differ, one of them is damaged: a slice must not be left out for that.
    kind = next((one for one in kinds if one in _KINDS | _CAPTURES), kinds[0] or kinds[1])
    # (A kind that just begins like one of these may be cut off.)
    if not any(wanted.startswith(kind) for wanted in _KINDS | _CAPTURES):
        return None
    text = {keyword: str(library.value(dataset, keyword) or "").strip() for keyword in _TAGS[:10]}
    is_image = text["Modality"] in IMAGES
    if text["Modality"] and not is_image and text["Modality"] not in LABELS:
        return path if kind in _KINDS else None
    if not all(text[keyword] for keyword in ("SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID")):
        return path  # it ends before them
    if is_image and "LOCALIZER" in words(dataset, "ImageType"):
        return None
    if is_image and library.value(dataset, "Rows") is None:
        return path
    if kind in _CAPTURES and (library.value(dataset, "ImagePositionPatient") is None or _is_colour(dataset)):
        return None
    number = library.number(dataset, "SeriesNumber")
    return Header(
        path=path,
        modality=text["Modality"],
        patient=text["PatientID"],
        study=text["StudyInstanceUID"],
        series=text["SeriesInstanceUID"],
        study_time=text["StudyDate"] + text["StudyTime"],
        number=-1 if number is None else int(number),
        description=text["SeriesDescription"],
        frame_of_reference=str(library.value(dataset, "FrameOfReferenceUID") or ""),
        corrected=words(dataset, "CorrectedImage"),
        references=() if is_image else references(dataset),
    )


def scan(root: pathlib.Path) -> Scan:
    """Reads the headers of all files under `root`; once, as long as no file changes.

    Raises:
        UserError: pydicom is not installed.
    """
    return _scan(tuple((path, *_version(path)) for path in files(root)))


def _version(path: pathlib.Path) -> tuple[int, int]:
    try:
        told = path.stat()
        return told.st_size, told.st_mtime_ns
    except OSError:  # a link that leads nowhere
        return -1, 0


@functools.lru_cache(maxsize=2)
def _scan(there: tuple[tuple[pathlib.Path, int, int], ...]) -> Scan:
    library.pydicom()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_header, (path for path, _, _ in there)))
    return Scan(
        tuple(one for one in found if isinstance(one, Header)),
        tuple(one for one in found if isinstance(one, pathlib.Path)),
    )


def by_series(headers: tuple[Header, ...]) -> dict[str, list[Header]]:
    """Headers by series UID, in the order of their first files."""
    series: dict[str, list[Header]] = collections.defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    return dict(series)
