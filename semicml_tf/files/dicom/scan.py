"""Scans a tree of DICOM files. Every header is read once; pixels are not read."""

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

_MAGIC = b"DICM"
_SUFFIXES = (".dcm", ".dicom", ".ima")
_SKIPPED = (".nii", ".gz", ".json", ".csv", ".txt", ".md", ".tsv", ".xml", ".pdf", ".png", ".jpg", ".zip", ".tfrecord")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# SOP classes that are read: CT, MR and PET (classic, enhanced, legacy converted); segmentations; structure sets.
# Ignored are reports, plans, raw data, spectra, palettes and DICOMDIR.
_SOURCES = {_STORAGE + end for end in "2 2.1 2.2 4 4.1 4.3 4.4 128 128.1 130 66.4 66.7 481.3".split()}
# Secondary captures: some programs write volumes as such. Screenshots and dose reports are also secondary captures, but
# have no position.
_CAPTURES = {_STORAGE + end for end in "7 7.1 7.2 7.3 7.4".split()}
_THREADS = 8  # reading headers mostly waits for the (network) disk
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
    """The fields of one file's header that are needed to sort files into series.

    Attributes:
        path: the file.
        modality: the DICOM code.
        patient, study, series: PatientID and UIDs, unchanged.
        study_time: StudyDate and StudyTime, the sort key of a patient's studies.
        number: SeriesNumber; -1 if missing.
        description: SeriesDescription.
        frame_of_reference: UID; "" if missing.
        corrected: CorrectedImage, the corrections of a PET.
        references: UIDs of the series on which a label was drawn.
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
    """The images and labels in a tree.

    Attributes:
        headers: of images and labels, in the order of their paths, without localizers.
        damaged: files with a suffix or magic bytes of DICOM that cannot be read.
    """

    headers: tuple[Header, ...]
    damaged: tuple[pathlib.Path, ...]


def files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """All regular files under `root` in a fixed order. Links are followed, and each folder is visited once."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above, or a second link to the same folder
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
    """Whether the file has the magic bytes of DICOM; False if it cannot be read."""
    if path.suffix.lower() in _SKIPPED:
        return False
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == _MAGIC
    except OSError:
        return False


def _is_colour(dataset) -> bool:
    return (library.number(dataset, "SamplesPerPixel") or 1) > 1


def references(dataset) -> tuple[str, ...]:
    """UIDs of the series that a label object refers to."""
    uids = [str(library.value(item, "SeriesInstanceUID")) for item in dataset.get("ReferencedSeriesSequence") or ()]
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                uids.append(str(library.value(series, "SeriesInstanceUID")))
    return tuple(dict.fromkeys(uids))


def texts(dataset, keyword: str) -> tuple[str, ...]:
    """The values of a text tag, which may have none, one or many."""
    value = library.value(dataset, keyword)
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _header(path: pathlib.Path) -> Header | pathlib.Path | None:
    """The header of a file; its path if the file is damaged; None if it is neither image nor label."""
    if not is_dicom(path):
        return path if path.suffix.lower() in _SUFFIXES else None
    try:
        return _parse(path, library.read(path, tags=_TAGS))
    except Exception:  # a truncated sequence raises exceptions of many types
        return path


def _parse(path: pathlib.Path, dataset) -> Header | pathlib.Path | None:
    """The return value of `_header` for a dataset."""
    uids = [str(dataset.file_meta.get("MediaStorageSOPClassUID") or ""), library.sop_class(dataset)]
    # If the two UIDs differ, one of them is damaged. The slice must not be skipped for that.
    sop_class = next((uid for uid in uids if uid in _SOURCES | _CAPTURES), uids[0] or uids[1])
    # A UID that is the beginning of a known one may be truncated.
    if not any(known.startswith(sop_class) for known in _SOURCES | _CAPTURES):
        return None
    text = {keyword: str(library.value(dataset, keyword) or "").strip() for keyword in _TAGS[:10]}
    is_image = text["Modality"] in IMAGES
    if text["Modality"] and not is_image and text["Modality"] not in LABELS:
        return path if sop_class in _SOURCES else None
    if not all(text[keyword] for keyword in ("SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID")):
        return path  # the header is truncated
    if is_image and "LOCALIZER" in texts(dataset, "ImageType"):
        return None
    if is_image and library.value(dataset, "Rows") is None:
        return path
    if sop_class in _CAPTURES and (library.value(dataset, "ImagePositionPatient") is None or _is_colour(dataset)):
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
        corrected=texts(dataset, "CorrectedImage"),
        references=() if is_image else references(dataset),
    )


def scan(root: pathlib.Path) -> Scan:
    """Reads the headers of all files under `root`. The result is cached until a file changes.

    Raises:
        UserError: pydicom is not installed.
    """
    return _scan(tuple((path, *_version(path)) for path in files(root)))


def _version(path: pathlib.Path) -> tuple[int, int]:
    """Size in bytes and time of modification in ns."""
    try:
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    except OSError:  # a broken link
        return -1, 0


@functools.lru_cache(maxsize=2)
def _scan(versions: tuple[tuple[pathlib.Path, int, int], ...]) -> Scan:
    library.pydicom()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        results = list(pool.map(_header, (path for path, _, _ in versions)))
    return Scan(
        tuple(result for result in results if isinstance(result, Header)),
        tuple(result for result in results if isinstance(result, pathlib.Path)),
    )


def by_series(headers: tuple[Header, ...]) -> dict[str, list[Header]]:
    """Groups headers by series UID, in the order of the first file of each series."""
    series: dict[str, list[Header]] = collections.defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    return dict(series)
