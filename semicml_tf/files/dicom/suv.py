"""PET values to SUV-bw: the factor for each slice, from its tags.

The rules are those of QIBA's vendor-neutral pseudo-code (QIBA Profile FDG-PET/CT as an Imaging Biomarker Measuring
Response to Cancer Therapy, version 1.13, appendix G; section "robust version"):

    SUVbw = activity concentration [Bq/ml] * weight [g] / dose [Bq] decayed to the time that the image is corrected to

with the units of DICOM PS3.3 C.8.9.1 (PET Series module) and the SUV type of (0054,1006). What they leave open is
refused: a wrong SUV looks like a right one.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library

TAGS = (
    "Units",
    "SUVType",
    "CorrectedImage",
    "DecayCorrection",
    "PatientWeight",
    "RadiopharmaceuticalInformationSequence",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "TimezoneOffsetFromUTC",
)
PRIVATE_TAGS = (0x00090010, 0x0009100D, 0x70530010, 0x70531000, 0x70531009)

_GE = (0x0009, "GEMS_PETD_01", 0x0D)  # scan date and time
_PHILIPS_SUV = (0x7053, "Philips PET Private Group", 0x00)  # SUV a stored unit
_PHILIPS_ACTIVITY = (0x7053, "Philips PET Private Group", 0x09)  # Bq/ml a stored unit
_HALF_LIVES = 12  # after which 1/4096 of the dose is left: nobody scans then, so the dates cannot be right
# Least and largest value, and the unit to correct it to: weights from a newborn's on, doses from a mouse's on,
# half-lives from rubidium-82 (75 s) to iodine-124 (4.2 days).
_PLAUSIBLE = {
    "PatientWeight": (2.0, 500.0, "kg"),
    "RadionuclideTotalDose": (1e5, 2e10, "Bq: MBq times 1e6"),
    "RadionuclideHalfLife": (60.0, 1e6, "seconds"),
}
_SECONDS_APART, _DAY = 60, 86400
_ALIKE = ("Units", "DecayCorrection", "PatientWeight", "SeriesDate", "SeriesTime")

Header = tuple[pathlib.Path, object]  # a file and its dataset


def _refuse(path: pathlib.Path, problem: str, remedy: str) -> UserError:
    return UserError(f"SUV cannot be computed: {problem}", path=path, remedy=remedy)


def _lacks(path: pathlib.Path, keyword: str, why: str) -> UserError:
    return _refuse(
        path,
        f"the tag {library.tag_name(keyword)}, {why}, is missing or unusable",
        f"Restore {keyword} from the original export, or convert this PET to SUV elsewhere and pass it as NIfTI",
    )


def _private(dataset, place: tuple[int, str, int]):
    """The value of a private tag, even if its type is unknown."""
    group, creator, element = place
    try:
        found = dataset.private_block(group, creator)[element].value
    except Exception:  # no such block, or a value that cannot be parsed
        return None
    if isinstance(found, bytes):
        found = found.decode("ascii", "replace").strip("\0 ")
    return found if found not in ("", None) else None


def _private_number(dataset, place: tuple[int, str, int]) -> float | None:
    try:
        found = float(_private(dataset, place))
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) and found > 0 else None


def _when(text) -> datetime.datetime | None:
    """A DICOM DT (or date and time in one), to the minute at least, as a moment; naive unless it tells its zone."""
    valuerep = library.pydicom().valuerep
    text = str(text).strip()
    if not text[:12].isdigit() or len(text) < 12:
        return None
    try:
        found = valuerep.DT(text)
        return datetime.datetime.combine(found.date(), found.time(), found.tzinfo) if found else None
    except (ValueError, TypeError, AttributeError):
        return None


def _moment(dataset, what: str) -> datetime.datetime | None:
    date, time = library.value(dataset, f"{what}Date"), library.value(dataset, f"{what}Time")
    joined = (
        None if date is None or time is None else _when(f"{str(date).replace('.', '')}{str(time).replace(':', '')}")
    )
    if joined is None and what == "Acquisition":
        return _local(_when(library.value(dataset, "AcquisitionDateTime")), dataset)
    return joined


def _local(moment: datetime.datetime | None, dataset) -> datetime.datetime | None:
    """A moment by the scanner's clock, without its zone."""
    if moment is None or moment.tzinfo is None:
        return moment
    offset = str(library.value(dataset, "TimezoneOffsetFromUTC") or "")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        zone = datetime.timezone(datetime.timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        moment = moment.astimezone(zone)
    return moment.replace(tzinfo=None)


def _scan_start(headers: Sequence[Header]) -> datetime.datetime:
    """The moment that DecayCorrection START refers to."""
    path, first = headers[0]
    acquired = [_moment(dataset, "Acquisition") for _, dataset in headers]
    if None in acquired:
        lacking, dataset = headers[acquired.index(None)]
        keyword = "AcquisitionTime" if library.value(dataset, "AcquisitionTime") is None else "AcquisitionDate"
        raise _lacks(lacking, keyword, "which tells when the scan began")
    series = _moment(first, "Series")
    if series is None:
        keyword = "SeriesTime" if library.value(first, "SeriesTime") is None else "SeriesDate"
        raise _lacks(path, keyword, "which tells when the scan began")
    if series <= min(acquired):
        return series
    # The series was made anew later on. GE keeps the scan's own time; else the first bed position began with the scan.
    return _local(_when(_private(first, _GE)), first) or min(acquired)


def _injection(path: pathlib.Path, item, dataset, scan: datetime.datetime) -> datetime.datetime:
    whole = _local(_when(library.value(item, "RadiopharmaceuticalStartDateTime")), dataset)
    time = library.value(item, "RadiopharmaceuticalStartTime")
    start = None if time is None else _when(f"{scan:%Y%m%d}{str(time).replace(':', '')}")
    if whole is not None:
        if start is not None and _SECONDS_APART < (whole - start).total_seconds() % _DAY < _DAY - _SECONDS_APART:
            raise _refuse(
                path,
                f"{library.tag_name('RadiopharmaceuticalStartDateTime')} and "
                f"{library.tag_name('RadiopharmaceuticalStartTime')} are different times of day",
                "Correct the wrong one, or remove it",
            )
        return whole
    if start is None:
        raise _lacks(path, "RadiopharmaceuticalStartTime", "which tells when the dose was given")
    # The tag holds no date: an injection after the scan was one of the evening before.
    return start if start <= scan else start - datetime.timedelta(days=1)


def _positive(path, dataset, keyword: str, why: str) -> float:
    found = library.number(dataset, keyword)
    if found is None or found <= 0:
        raise _lacks(path, keyword, why)
    low, high, unit = _PLAUSIBLE[keyword]
    if not low <= found <= high:
        raise _refuse(
            path,
            f"the tag {library.tag_name(keyword)} holds {'less' if found < low else 'more'} than "
            f"{low if found < low else high:g}, so it cannot be {why}",
            f"Correct the tag (in {unit}), or pass this PET as NIfTI in SUV",
        )
    return found


def _per_activity(headers: Sequence[Header]) -> float:
    """SUV-bw of 1 Bq/ml."""
    path, first = headers[0]
    corrected = library.value(first, "CorrectedImage")
    if corrected is None:
        raise _lacks(path, "CorrectedImage", "which tells what the image is corrected for")
    corrected = [corrected] if isinstance(corrected, str) else list(corrected)
    for code, what in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in corrected:
            raise _refuse(
                path,
                f"the image is not corrected for {what} ({library.tag_name('CorrectedImage')} lacks {code})",
                "Choose the corrected series of this scan",
            )
    weight = _positive(path, first, "PatientWeight", "in kg") * 1000
    items = library.value(first, "RadiopharmaceuticalInformationSequence")
    if items is None:
        raise _lacks(path, "RadiopharmaceuticalInformationSequence", "which holds dose, half-life and injection time")
    if len(items) != 1:
        raise _refuse(path, f"{len(items)} radiopharmaceuticals were given", "Pass this PET as NIfTI in SUV")
    item = items[0]
    dose = _positive(path, item, "RadionuclideTotalDose", "in Bq")
    correction = library.value(first, "DecayCorrection")
    if correction is None:
        raise _lacks(path, "DecayCorrection", "which tells the time that the image is corrected to")
    if correction == "ADMIN":  # to the time of injection, when the dose was whole
        return weight / dose
    if correction != "START":
        given = "NONE" if correction == "NONE" else "another code"
        raise _refuse(
            path,
            f"expected {library.tag_name('DecayCorrection')} START or ADMIN, got {given}",
            "Choose the decay-corrected series of this scan",
        )
    half_life = _positive(path, item, "RadionuclideHalfLife", "in seconds")
    scan = _scan_start(headers)
    elapsed = (scan - _injection(path, item, first, scan)).total_seconds()
    if not 0 <= elapsed <= _HALF_LIVES * half_life:
        how = "after the scan began" if elapsed < 0 else f"more than {_HALF_LIVES} half-lives before the scan"
        raise _refuse(
            path,
            f"the dose was given {how}, by {library.tag_name('RadiopharmaceuticalStartDateTime')} or "
            f"{library.tag_name('RadiopharmaceuticalStartTime')}",
            "De-identification may have shifted one date alone: restore it, or pass this PET as NIfTI in SUV",
        )
    return weight / (dose * 2 ** (-elapsed / half_life))


def _philips(headers: Sequence[Header]) -> np.ndarray:
    suv = [_private_number(dataset, _PHILIPS_SUV) for _, dataset in headers]
    if None not in suv:
        return np.array(suv)
    activity = [_private_number(dataset, _PHILIPS_ACTIVITY) for _, dataset in headers]
    if any(suv) or None in activity:
        raise _refuse(
            headers[0][0],
            "its unit is counts (CNTS), and the private tags that turn them into SUV (7053,1000) or Bq/ml (7053,1009) "
            "are not there for every slice",
            "Export it with its private tags, or in BQML",
        )
    return np.array(activity) * _per_activity(headers)


def factors(headers: Sequence[Header]) -> np.ndarray:
    """What to multiply each slice's rescaled values by to get SUV-bw in g/ml.

    Args:
        headers: for each slice its file and its dataset, which holds at least `TAGS` and `PRIVATE_TAGS`.

    Returns:
        (number of slices,) float64.

    Raises:
        UserError: a tag is missing, or the unit or the corrections are none that SUV-bw follows from.
    """
    path, first = headers[0]
    for keyword in _ALIKE:
        for other, dataset in headers[1:]:
            if library.value(dataset, keyword) != library.value(first, keyword):
                raise _refuse(
                    other,
                    f"its slices differ in {library.tag_name(keyword)}",
                    "Leave the slices of one scan in the series",
                )
    units = library.value(first, "Units")
    if units is None:
        raise _lacks(path, "Units", "which tells what the values are")
    if units == "BQML":
        return np.full(len(headers), _per_activity(headers))
    if units == "CNTS":
        return _philips(headers)
    if units == "GML":
        # (0054,1006): where it is absent, GML means SUV by body weight.
        if (library.value(first, "SUVType") or "BW") != "BW":
            raise _refuse(
                path,
                f"the image holds SUV of another kind than by body weight ({library.tag_name('SUVType')})",
                "Export it in BQML",
            )
        return np.ones(len(headers))
    raise _refuse(
        path,
        f"expected {library.tag_name('Units')} BQML, GML or (from Philips) CNTS, got another unit",
        "Export it in BQML",
    )
