"""Verification across cases: duplicates, leaks between partitions, and outliers."""

from __future__ import annotations

import collections
import itertools
import math
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf.conversion.verification.findings import CaseReport, Finding
from semicml_tf.files.case import CaseFiles

# Fewer cases have no reliable median.
LEAST_CASES = 10
# Least number of cases in which a region lies within another one. They must also be twice as many as the exceptions.
LEAST_NESTED = 3
# Robust standard deviations from the median.
FAR = 8.0
# A larger fraction of the cases is not reported, because it is a second scanner or protocol.
MOST_OUTLIERS = 0.05
_KEEP = ("test", "validation", "labelled", "unlabelled")
# Smallest standard deviation of logarithms (5 %), if most cases have the same value.
_LEAST_DEVIATION = 0.05


def across(cases: Mapping[str, Sequence[CaseFiles]], reports: Mapping[str, CaseReport]) -> list[Finding]:
    """Findings about several cases.

    Args:
        cases: cases by partition.
        reports: reports by case name. Of a case without a report, only the name is checked.
    """
    home = {case.case_id: partition for partition, members in cases.items() for case in members}
    files = {case.case_id: case for members in cases.values() for case in members}
    reports = {name: reports[name] for name in sorted(home) if name in reports}
    return [
        *_patients(files, home),
        *_ids_alike(sorted(home)),
        *_duplicate_images(reports, files, home),
        *_duplicate_labels(reports, files),
        *_regions_outside(reports, files),
        *_outliers(reports, files),
    ]


def _grouped(items: Iterable[Any], key: Callable[[Any], Hashable | None]) -> list[list[Any]]:
    """Groups of two or more items with the same key. Items with the key None are ignored."""
    groups = collections.defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    groups.pop(None, None)
    return [group for group in groups.values() if len(group) > 1]


def _leaks(names: Sequence[str], home: Mapping[str, str]) -> list[str]:
    """The cases to exclude, so that the others are in one partition. They get the error.

    Test cases are kept, then validation cases, because scores are worth more than training data.
    """
    keep = min((home[name] for name in names), key=lambda partition: (_KEEP + (partition,)).index(partition))
    return [name for name in names if home[name] != keep]


def _patients(files: Mapping[str, CaseFiles], home: Mapping[str, str]) -> list[Finding]:
    return [
        Finding.of(
            "patient_in_two_partitions",
            f"studies of patient {files[leak].patient} are in two partitions: "
            + ", ".join(f"{name} in '{home[name]}'" for name in names),
            case=leak,
            remedy="Put all studies of a patient into one partition, or draw the split with --split_seed",
        )
        for names in _grouped(sorted(files), lambda name: files[name].patient)
        for leak in _leaks(names, home)
    ]


def _ids_alike(names: Sequence[str]) -> list[Finding]:
    def essence(name: str) -> str:
        return "".join(unicodedata.normalize("NFKC", name).casefold().split())

    return [
        Finding.of(
            "ids_alike",
            f"the names {', '.join(repr(name) for name in group)} differ in case, spaces or the form of letters alone",
            case=group[0],
            remedy="Check that they are different cases; rename them, as some file systems take them for one",
        )
        for group in _grouped(names, essence)
    ]


def _duplicate_images(
    reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles], home: Mapping[str, str]
) -> list[Finding]:
    # Compares hashes of the voxels if they could be read, because the compression changes the digest of a file.
    # Constant images are skipped: they have an error of their own, and equal ones are no leak.
    places = []
    for case, report in reports.items():
        for name in files[case].images:
            facts = report.images.get(name, {})
            if "min" not in facts or facts["min"] < facts["max"]:
                places.append((facts.get("voxels_sha256") or report.digests.get(name), case, name))
    found = []
    for group in _grouped(places, lambda place: place[0]):
        for other in {other: None for _, other, _ in group}:
            names = [modality for _, holder, modality in group if holder == other]
            if len(names) > 1:
                found.append(
                    Finding.of(
                        "same_image_twice",
                        f"{' and '.join(map(repr, names))} of case {other} are one image",
                        case=other,
                        file=files[other].images[names[0]].path,
                        remedy="Put each modality's own file in its place, or exclude the case",
                    )
                )
        holders = list(dict.fromkeys(holder for _, holder, _ in group))
        if len(holders) < 2:
            continue
        places_text = ", ".join(f"{holder} ('{home[holder]}')" for holder in holders)
        leaks = _leaks(holders, home)
        for holder in leaks or holders[1:]:
            name = next(modality for _, other, modality in group if other == holder)
            found.append(
                Finding.of(
                    "image_in_two_partitions" if leaks else "image_in_two_cases",
                    f"the same image, '{name}' here, is in the cases {places_text}",
                    case=holder,
                    file=files[holder].images[name].path,
                    remedy="Leave it in one case: what is trained on must not be tested on"
                    if leaks
                    else "Leave it in one case, or else it counts twice",
                )
            )
    return found


def _duplicate_labels(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    def digest(case: str) -> str | None:
        # Two empty label maps are alike by right.
        report = reports[case]
        return report.digests.get("label") if report.label and report.label.get("voxels") else None

    return [
        Finding.of(
            "label_in_two_cases",
            f"the cases {', '.join(group)} have the same label map",
            case=group[0],
            file=files[group[0]].label.path,
            remedy="Check that each label is of its own case",
        )
        for group in _grouped(reports, digest)
    ]


def _regions_outside(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    """Regions that lie within another one in most cases that have both, but not in all."""
    labels = {case: report.label for case, report in reports.items() if report.label and "outside" in report.label}
    if not labels:
        return []
    found = []
    for inner, outer in itertools.permutations(next(iter(labels.values()))["outside"], 2):
        both = {case: label for case, label in labels.items() if label["classes"][inner] and label["classes"][outer]}
        apart = [case for case, label in both.items() if label["outside"][inner][outer]]
        within = len(both) - len(apart)
        if within < max(LEAST_NESTED, 2 * len(apart)):
            continue
        for case in apart:
            counts = both[case]
            found.append(
                Finding.of(
                    "region_outside",
                    f"{counts['outside'][inner][outer]} of {counts['classes'][inner]} voxels of '{inner}' lie outside "
                    f"'{outer}', which contains '{inner}' in {within} of {len(both)} cases",
                    case=case,
                    file=files[case].label.path,
                    remedy=f"Check both structures; nothing is to do if '{inner}' may reach beyond '{outer}'",
                )
            )
    return found


def _outliers(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    found = []
    modalities = dict.fromkeys(name for report in reports.values() for name in report.images)
    for name in modalities:
        facts = {case: report.images[name] for case, report in reports.items() if name in report.images}
        odd = collections.defaultdict(list)
        for what, measure in _MEASURES.items():
            values = {case: measure(of_case) for case, of_case in facts.items()}
            for case, (value, usual) in _far_off({c: v for c, v in values.items() if v is not None}).items():
                odd[case].append(f"{what} {value:.4g} (usual: {usual:.4g})")
        for case, told in odd.items():
            found.append(
                Finding.of(
                    "unlike_the_others",
                    f"'{name}' is unlike that of the other cases: {', '.join(told)}",
                    case=case,
                    file=files[case].images[name].path,
                    remedy="Check that it is this modality, of this region and in this unit; if so, nothing is to do",
                )
            )
    return found


def _far_off(values: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Cases whose value is an outlier on the scale of logarithms, with it and the median."""
    positive = {case: value for case, value in values.items() if value > 0}
    if len(positive) < LEAST_CASES:
        return {}
    logs = np.log(np.array(list(positive.values())))
    median = float(np.median(logs))
    deviation = max(1.4826 * float(np.median(np.abs(logs - median))), _LEAST_DEVIATION)
    far = [case for case, log in zip(positive, logs) if abs(log - median) > FAR * deviation]
    if len(far) > max(1, MOST_OUTLIERS * len(positive)):
        return {}
    return {case: (positive[case], math.exp(median)) for case in far}


def _spread(facts: Mapping[str, Any]) -> float | None:
    return facts.get("std")


def _range(facts: Mapping[str, Any]) -> float | None:
    percentiles = facts.get("percentiles")
    return percentiles["99.5"] - percentiles["0.5"] if percentiles else None


# All positive: lengths and widths, which compare by ratio. Levels such as a CT's mean may be 0.
_MEASURES: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "slice distance in mm": lambda facts: facts["grid"]["spacing_mm"][0],
    "row distance in mm": lambda facts: facts["grid"]["spacing_mm"][1],
    "column distance in mm": lambda facts: facts["grid"]["spacing_mm"][2],
    "height in mm": lambda facts: facts["grid"]["extent_mm"][0],
    "standard deviation": _spread,
    "range of intensities": _range,
}
