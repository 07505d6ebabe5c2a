"""Factors that convert PET values to SUV-bw, one per slice, computed from the DICOM tags.

The rules are those of QIBA's vendor-neutral pseudo-code (QIBA Profile FDG-PET/CT as an Imaging Biomarker Measuring
Response to Cancer Therapy, version 1.13, appendix G; section "robust version"):

    SUVbw = activity concentration [Bq/ml] * weight [g] / dose [Bq] decayed to the time that the image is corrected to

The units are those of DICOM PS3.3 C.8.9.1 (PET Series module), the SUV type is (0054,1006). A case that these rules do
not cover raises an error, because a wrong SUV looks plausible.
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
_PHILIPS_SUV = (0x7053, "Philips PET Private Group", 0x00)  # SUV per stored unit
_PHILIPS_ACTIVITY = (0x7053, "Philips PET Private Group", 0x09)  # Bq/ml per stored unit
_MAX_HALF_LIVES = 12  # 1/4096 of the dose is left, too little for a scan: a longer delay means wrong dates
# Smallest and largest value, and the unit for the error message. The smallest weight is that of a newborn, the smallest
# dose that of a mouse. Half-lives range from rubidium-82 (75 s) to iodine-124 (4.2 days).
_PLAUSIBLE = {
    "PatientWeight": (2.0, 500.0, "kg"),
    "RadionuclideTotalDose": (1e5, 2e10, "Bq: MBq times 1e6"),
    "RadionuclideHalfLife": (60.0, 1e6, "seconds"),
}
_TOLERANCE_SECONDS, _DAY_SECONDS = 60, 86400
_EQUAL_IN_ALL_SLICES = ("Units", "DecayCorrection", "PatientWeight", "SeriesDate", "SeriesTime")

Header = tuple[pathlib.Path, object]  # a file and its dataset


def _error(path: pathlib.Path, problem: str, remedy: str) -> UserError:
    return UserError(f"SUV cannot be computed: {problem}", path=path, remedy=remedy)


def _missing_tag(path: pathlib.Path, keyword: str, content: str) -> UserError:
    return _error(
        path,
        f"the tag {library.tag_name(keyword)}, {content}, is missing or unusable",
        f"Restore {keyword} from the original export, or convert this PET to SUV elsewhere and pass it as NIfTI",
    )


def _private(dataset, tag: tuple[int, str, int]):
    """The value of a private tag, even if its type is unknown; None if it is absent, empty or damaged."""
    group, creator, element = tag
    try:
        value = dataset.private_block(group, creator)[element].value
    except Exception:  # no such block, or a value that cannot be parsed
        return None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip("\0 ")
    return value if value not in ("", None) else None


def _private_number(dataset, tag: tuple[int, str, int]) -> float | None:
    """The value of a private tag as a positive number; None if it is not one."""
    try:
        number = float(_private(dataset, tag))
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _parse_date_time(text) -> datetime.datetime | None:
    """Parses a DICOM DT, or a joined DA and TM. Returns None without hours and minutes; naive without a time zone."""
    valuerep = library.pydicom().valuerep
    text = str(text).strip()
    if not text[:12].isdigit() or len(text) < 12:
        return None
    try:
        parsed = valuerep.DT(text)
        return datetime.datetime.combine(parsed.date(), parsed.time(), parsed.tzinfo) if parsed else None
    except (ValueError, TypeError, AttributeError):
        return None


def _date_time(dataset, prefix: str) -> datetime.datetime | None:
    """Joins the tags ``<prefix>Date`` and ``<prefix>Time``; `prefix` is "Series" or "Acquisition"."""
    date, time = library.value(dataset, f"{prefix}Date"), library.value(dataset, f"{prefix}Time")
    joined = None
    if date is not None and time is not None:
        joined = _parse_date_time(f"{str(date).replace('.', '')}{str(time).replace(':', '')}")
    if joined is None and prefix == "Acquisition":
        return _local(_parse_date_time(library.value(dataset, "AcquisitionDateTime")), dataset)
    return joined


def _local(time: datetime.datetime | None, dataset) -> datetime.datetime | None:
    """Converts a time to the scanner's time zone and drops the zone."""
    if time is None or time.tzinfo is None:
        return time
    offset = str(library.value(dataset, "TimezoneOffsetFromUTC") or "")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        zone = datetime.timezone(datetime.timedelta(minutes=-minutes if offset[0] == "-" else minutes))
        time = time.astimezone(zone)
    return time.replace(tzinfo=None)


def _scan_start(headers: Sequence[Header]) -> datetime.datetime:
    """The time that DecayCorrection START refers to."""
    path, first = headers[0]
    acquired = [_date_time(dataset, "Acquisition") for _, dataset in headers]
    if None in acquired:
        lacking_path, dataset = headers[acquired.index(None)]
        keyword = "AcquisitionTime" if library.value(dataset, "AcquisitionTime") is None else "AcquisitionDate"
        raise _missing_tag(lacking_path, keyword, "the start of the scan")
    series = _date_time(first, "Series")
    if series is None:
        keyword = "SeriesTime" if library.value(first, "SeriesTime") is None else "SeriesDate"
        raise _missing_tag(path, keyword, "the start of the scan")
    if series <= min(acquired):
        return series
    # The series was reconstructed after the scan. GE stores the start of the scan in a private tag. For other vendors,
    # the first bed position was acquired at the start.
    return _local(_parse_date_time(_private(first, _GE)), first) or min(acquired)


def _injection(path: pathlib.Path, item, dataset, scan: datetime.datetime) -> datetime.datetime:
    """The time of injection, from its date and time, or from its time and the date of the scan."""
    date_time = _local(_parse_date_time(library.value(item, "RadiopharmaceuticalStartDateTime")), dataset)
    time = library.value(item, "RadiopharmaceuticalStartTime")
    start = None if time is None else _parse_date_time(f"{scan:%Y%m%d}{str(time).replace(':', '')}")
    if date_time is not None:
        if start is not None and _times_differ(date_time, start):
            raise _error(
                path,
                f"{library.tag_name('RadiopharmaceuticalStartDateTime')} and "
                f"{library.tag_name('RadiopharmaceuticalStartTime')} are different times of day",
                "Correct the wrong one, or remove it",
            )
        return date_time
    if start is None:
        raise _missing_tag(path, "RadiopharmaceuticalStartTime", "the time of injection")
    # The tag has no date. An injection later in the day than the scan was on the day before.
    return start if start <= scan else start - datetime.timedelta(days=1)


def _times_differ(first: datetime.datetime, second: datetime.datetime) -> bool:
    """Whether the times of day differ by more than a minute, whatever the dates."""
    return _TOLERANCE_SECONDS < (first - second).total_seconds() % _DAY_SECONDS < _DAY_SECONDS - _TOLERANCE_SECONDS


def _positive(path, dataset, keyword: str, unit: str) -> float:
    """The value of a tag, checked against the plausible range of its unit, e.g. "in kg"."""
    number = library.number(dataset, keyword)
    if number is None or number <= 0:
        raise _missing_tag(path, keyword, unit)
    low, high, correct_unit = _PLAUSIBLE[keyword]
    if not low <= number <= high:
        raise _error(
            path,
            f"the tag {library.tag_name(keyword)} is {'less' if number < low else 'more'} than "
            f"{low if number < low else high:g}, so it cannot be {unit}",
            f"Correct the tag (in {correct_unit}), or pass this PET as NIfTI in SUV",
        )
    return number


def _per_activity(headers: Sequence[Header]) -> float:
    """SUV-bw of 1 Bq/ml."""
    path, first = headers[0]
    corrected = library.value(first, "CorrectedImage")
    if corrected is None:
        raise _missing_tag(path, "CorrectedImage", "the list of corrections")
    corrected = [corrected] if isinstance(corrected, str) else list(corrected)
    for code, correction in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in corrected:
            raise _error(
                path,
                f"the image is not corrected for {correction} ({library.tag_name('CorrectedImage')} lacks {code})",
                "Choose the corrected series of this scan",
            )
    weight = _positive(path, first, "PatientWeight", "in kg") * 1000
    items = library.value(first, "RadiopharmaceuticalInformationSequence")
    if items is None:
        raise _missing_tag(path, "RadiopharmaceuticalInformationSequence", "with dose, half-life and time of injection")
    if len(items) != 1:
        raise _error(path, f"expected one radiopharmaceutical, got {len(items)}", "Pass this PET as NIfTI in SUV")
    item = items[0]
    dose = _positive(path, item, "RadionuclideTotalDose", "in Bq")
    correction = library.value(first, "DecayCorrection")
    if correction is None:
        raise _missing_tag(path, "DecayCorrection", "the time that the image is corrected to")
    if correction == "ADMIN":  # to the time of injection: the whole dose counts
        return weight / dose
    if correction != "START":
        given = "NONE" if correction == "NONE" else "another code"
        raise _error(
            path,
            f"expected {library.tag_name('DecayCorrection')} START or ADMIN, got {given}",
            "Choose the decay-corrected series of this scan",
        )
    half_life = _positive(path, item, "RadionuclideHalfLife", "in seconds")
    scan = _scan_start(headers)
    elapsed = (scan - _injection(path, item, first, scan)).total_seconds()
    if not 0 <= elapsed <= _MAX_HALF_LIVES * half_life:
        delay = "after the scan began" if elapsed < 0 else f"more than {_MAX_HALF_LIVES} half-lives before the scan"
        raise _error(
            path,
            f"the injection was {delay}, by {library.tag_name('RadiopharmaceuticalStartDateTime')} or "
            f"{library.tag_name('RadiopharmaceuticalStartTime')}",
            "De-identification may have shifted only one of the dates: restore it, or pass this PET as NIfTI in SUV",
        )
    return weight / (dose * 2 ** (-elapsed / half_life))


def _philips(headers: Sequence[Header]) -> np.ndarray:
    """(number of slices,) factors from counts to SUV-bw, by the private tags of Philips."""
    suv = [_private_number(dataset, _PHILIPS_SUV) for _, dataset in headers]
    if None not in suv:
        return np.array(suv)
    activity = [_private_number(dataset, _PHILIPS_ACTIVITY) for _, dataset in headers]
    if any(suv) or None in activity:
        raise _error(
            headers[0][0],
            "the unit is counts (CNTS), and not every slice has the private tag that converts counts to SUV "
            "(7053,1000) or to Bq/ml (7053,1009)",
            "Export it with its private tags, or in BQML",
        )
    return np.array(activity) * _per_activity(headers)


def factors(headers: Sequence[Header]) -> np.ndarray:
    """Factors that convert the rescaled values of each slice to SUV-bw in g/ml.

    Args:
        headers: for each slice, its file and a dataset with at least `TAGS` and `PRIVATE_TAGS`.

    Returns:
        (number of slices,) float64.

    Raises:
        UserError: a tag is missing, or SUV-bw cannot be computed from this unit or these corrections.
    """
    path, first = headers[0]
    for keyword in _EQUAL_IN_ALL_SLICES:
        for other, dataset in headers[1:]:
            if library.value(dataset, keyword) != library.value(first, keyword):
                raise _error(
                    other,
                    f"the slices differ in {library.tag_name(keyword)}",
                    "Keep the slices of one scan in the series",
                )
    units = library.value(first, "Units")
    if units is None:
        raise _missing_tag(path, "Units", "the unit of the values")
    if units == "BQML":
        return np.full(len(headers), _per_activity(headers))
    if units == "CNTS":
        return _philips(headers)
    if units == "GML":
        # Without (0054,1006), GML means SUV by body weight.
        if (library.value(first, "SUVType") or "BW") != "BW":
            raise _error(
                path,
                f"the image has SUV of another kind than by body weight ({library.tag_name('SUVType')})",
                "Export it in BQML",
            )
        return np.ones(len(headers))
    raise _error(
        path,
        f"expected {library.tag_name('Units')} BQML, GML or (from Philips) CNTS, got another unit",
        "Export it in BQML",
    )
