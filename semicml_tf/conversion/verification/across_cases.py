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
# Smallest number of cases in which a region lies within another region. There must also be twice as many as exceptions.
LEAST_NESTED = 3
# Robust standard deviations from the median.
FAR = 8.0
# A larger fraction of cases is a second scanner or protocol, and is not reported.
MOST_OUTLIERS = 0.05
_KEEP = ("test", "validation", "labelled", "unlabelled")
# Smallest standard deviation of logarithms (5 %), if most cases have the same value.
_LEAST_DEVIATION = 0.05


def across(cases: Mapping[str, Sequence[CaseFiles]], reports: Mapping[str, CaseReport]) -> list[Finding]:
    """Findings about several cases.

    Args:
        cases: by partition.
        reports: by case name. For a case without a report, only the name is checked.
    """
    partition_of = {case.case_id: partition for partition, members in cases.items() for case in members}
    files = {case.case_id: case for members in cases.values() for case in members}
    reports = {name: reports[name] for name in sorted(partition_of) if name in reports}
    return [
        *_patients(files, partition_of),
        *_ids_alike(sorted(partition_of)),
        *_duplicate_images(reports, files, partition_of),
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


def _leaks(names: Sequence[str], partition_of: Mapping[str, str]) -> list[str]:
    """The cases that get the error: without them, all cases are in one partition.

    Test cases are kept first, then validation cases, because evaluation data are worth more than training data.
    """
    keep = min((partition_of[name] for name in names), key=lambda partition: (_KEEP + (partition,)).index(partition))
    return [name for name in names if partition_of[name] != keep]


def _patients(files: Mapping[str, CaseFiles], partition_of: Mapping[str, str]) -> list[Finding]:
    return [
        Finding.of(
            "patient_in_two_partitions",
            f"studies of patient {files[leak].patient} are in two partitions: "
            + ", ".join(f"{name} in '{partition_of[name]}'" for name in names),
            case=leak,
            remedy="Put all studies of a patient into one partition, or draw the split with --split_seed",
        )
        for names in _grouped(sorted(files), lambda name: files[name].patient)
        for leak in _leaks(names, partition_of)
    ]


def _ids_alike(names: Sequence[str]) -> list[Finding]:
    def folded(name: str) -> str:
        return "".join(unicodedata.normalize("NFKC", name).casefold().split())

    return [
        Finding.of(
            "ids_alike",
            f"the names {', '.join(repr(name) for name in group)} differ only in upper and lower case, spaces or the "
            "form of letters",
            case=group[0],
            remedy="Check that they are different cases, and rename them: some file systems treat the names as equal",
        )
        for group in _grouped(names, folded)
    ]


def _duplicate_images(
    reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles], partition_of: Mapping[str, str]
) -> list[Finding]:
    # The hash of the voxels is preferred, because compression changes the digest of a file.
    # Constant images are skipped: they get another error, and equal constant images are no leak.
    images = []
    for case, report in reports.items():
        for name in files[case].images:
            facts = report.images.get(name, {})
            if "min" not in facts or facts["min"] < facts["max"]:
                images.append((facts.get("voxels_sha256") or report.digests.get(name), case, name))
    findings = []
    for group in _grouped(images, lambda image: image[0]):
        for other in {other: None for _, other, _ in group}:
            names = [modality for _, holder, modality in group if holder == other]
            if len(names) > 1:
                findings.append(
                    Finding.of(
                        "same_image_twice",
                        f"{' and '.join(map(repr, names))} of case {other} are the same image",
                        case=other,
                        file=files[other].images[names[0]].path,
                        remedy="Correct the files of the modalities, or exclude the case",
                    )
                )
        holders = list(dict.fromkeys(holder for _, holder, _ in group))
        if len(holders) < 2:
            continue
        listed = ", ".join(f"{holder} ('{partition_of[holder]}')" for holder in holders)
        leaks = _leaks(holders, partition_of)
        for holder in leaks or holders[1:]:
            name = next(modality for _, other, modality in group if other == holder)
            findings.append(
                Finding.of(
                    "image_in_two_partitions" if leaks else "image_in_two_cases",
                    f"the same image, '{name}' here, is in the cases {listed}",
                    case=holder,
                    file=files[holder].images[name].path,
                    remedy="Keep it in one case: training images must not be test images"
                    if leaks
                    else "Keep it in one case; otherwise it counts twice",
                )
            )
    return findings


def _duplicate_labels(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    def digest(case: str) -> str | None:
        # Empty label maps may be equal.
        report = reports[case]
        return report.digests.get("label") if report.label and report.label.get("voxels") else None

    return [
        Finding.of(
            "label_in_two_cases",
            f"the cases {', '.join(group)} have the same label map",
            case=group[0],
            file=files[group[0]].label.path,
            remedy="Check that each label belongs to its case",
        )
        for group in _grouped(reports, digest)
    ]


def _regions_outside(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    """Regions that are partly outside another region, but within it in most cases with both."""
    labels = {case: report.label for case, report in reports.items() if report.label and "outside" in report.label}
    if not labels:
        return []
    findings = []
    for inner, outer in itertools.permutations(next(iter(labels.values()))["outside"], 2):
        both = {case: label for case, label in labels.items() if label["classes"][inner] and label["classes"][outer]}
        exceptions = [case for case, label in both.items() if label["outside"][inner][outer]]
        within = len(both) - len(exceptions)
        if within < max(LEAST_NESTED, 2 * len(exceptions)):
            continue
        for case in exceptions:
            counts = both[case]
            findings.append(
                Finding.of(
                    "region_outside",
                    f"{counts['outside'][inner][outer]} of {counts['classes'][inner]} voxels of '{inner}' lie outside "
                    f"'{outer}', which contains '{inner}' in {within} of {len(both)} cases",
                    case=case,
                    file=files[case].label.path,
                    remedy=f"Check both structures, unless '{inner}' may extend beyond '{outer}'",
                )
            )
    return findings


def _outliers(reports: Mapping[str, CaseReport], files: Mapping[str, CaseFiles]) -> list[Finding]:
    """Images whose spacing, size or intensities are far from those of the other cases."""
    findings = []
    modalities = dict.fromkeys(name for report in reports.values() for name in report.images)
    for name in modalities:
        facts = {case: report.images[name] for case, report in reports.items() if name in report.images}
        texts = collections.defaultdict(list)
        for title, measure in _MEASURES.items():
            values = {case: measure(of_case) for case, of_case in facts.items()}
            for case, (value, median) in _far_off({c: v for c, v in values.items() if v is not None}).items():
                texts[case].append(f"{title} {value:.4g} (median: {median:.4g})")
        for case, differences in texts.items():
            findings.append(
                Finding.of(
                    "unlike_the_others",
                    f"'{name}' differs from that of the other cases: {', '.join(differences)}",
                    case=case,
                    file=files[case].images[name].path,
                    remedy="Check modality, body region and unit; if they are right, nothing needs to be done",
                )
            )
    return findings


def _far_off(values: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Outliers on a logarithmic scale: by case, the value and the median."""
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


# All are positive lengths and widths, which are compared by ratio. A level such as the mean of CT may be 0.
_MEASURES: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "slice distance in mm": lambda facts: facts["grid"]["spacing_mm"][0],
    "row distance in mm": lambda facts: facts["grid"]["spacing_mm"][1],
    "column distance in mm": lambda facts: facts["grid"]["spacing_mm"][2],
    "height in mm": lambda facts: facts["grid"]["extent_mm"][0],
    "standard deviation": _spread,
    "range of intensities": _range,
}
