"""`conversion.verification.across_cases`: duplicates, leaks and outliers; nothing where there is none."""

import dataclasses
import pathlib

import pytest

from semicml_tf.conversion.verification.across_cases import across
from semicml_tf.conversion.verification.examine_case import examine
from semicml_tf.conversion.verification.findings import CODES, CaseReport
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile
from tests.support import image_folders, verification_cases

SETTINGS = verification_cases.settings()


def facts(spacing=(3.0, 2.0, 2.0), std=100.0, width=1000.0, sha=None):
    return {
        "grid": {"spacing_mm": list(spacing), "extent_mm": [60.0 * spacing[0], 200.0, 200.0]},
        "std": std,
        "percentiles": {"0.5": -width / 2, "99.5": width / 2},
        **({} if sha is None else {"voxels_sha256": sha}),
    }


def one(name, *, patient="", images=None, label=None, label_digest=None):
    """A case and its report, from facts alone."""
    images = images or {"ct": facts(sha=f"{name} ct"), "pet": facts(sha=f"{name} pet")}
    sources = {modality: NiftiFile(pathlib.Path(f"{name}_{modality}.nii")) for modality in images}
    case = CaseFiles(name, sources, NiftiFile(pathlib.Path(f"{name}_label.nii")), patient_id=patient)
    digests = {"label": label_digest} if label_digest else {}
    return case, CaseReport(name, (), images, label, digests)


def look(**partitions):
    cases = {partition: [case for case, _ in members] for partition, members in partitions.items()}
    reports = {report.case_id: report for members in partitions.values() for _, report in members}
    found = across(cases, reports)
    assert all(finding.remedy and finding.severity == CODES[finding.code][0] for finding in found)
    return found


def told(found):
    return [(finding.code, finding.case) for finding in found]


def many(number=12, **changed):
    return [one(f"P{i:02d}", images={"ct": changed.get(f"P{i:02d}", facts(std=100.0 + i))}) for i in range(number)]


def test_sound_cases_have_no_findings():
    assert look(labelled=many(), test=[one("Q1"), one("Q2")]) == []
    assert across({}, {}) == []


def test_a_patient_in_two_partitions():
    found = look(
        labelled=[one("A-1", patient="A"), one("B-1", patient="B"), one("B-2", patient="B")],
        test=[one("A-2", patient="A")],
    )
    assert told(found) == [("patient_in_two_partitions", "A-1")] and found[0].severity == "error"
    assert "A-1 in 'labelled', A-2 in 'test'" in found[0].problem
    # The case's own name is the patient's where the layout tells none.
    assert told(look(labelled=[one("A")], validation=[one("X", patient="A")])) == [("patient_in_two_partitions", "A")]


def test_one_image_under_two_names():
    twin = {"ct": facts(sha="same"), "pet": facts(sha="other")}
    found = look(labelled=[one("A", images={"ct": facts(sha="same")}), one("B", images=twin)])
    assert told(found) == [("image_in_two_cases", "B")] and found[0].file == "B_ct.nii"
    # Over partitions it is a leak, and what is tested on stays.
    copies = {name: one(name, images={"ct": facts(sha="same")}) for name in "ABC"}
    found = look(labelled=[copies["C"]], unlabelled=[copies["A"]], test=[copies["B"]])
    assert told(found) == [("image_in_two_partitions", "A"), ("image_in_two_partitions", "C")]
    assert all(name in found[0].problem for name in ("A ('unlabelled')", "B ('test')", "C ('labelled')"))


def test_one_image_as_two_modalities():
    found = look(labelled=[one("A", images={"ct": facts(sha="same"), "pet": facts(sha="same")})])
    assert told(found) == [("same_image_twice", "A")] and "'ct' and 'pet'" in found[0].problem


def test_one_label_in_two_cases():
    full, empty = {"voxels": 5}, {"voxels": 0}
    cases = [one("A", label=full, label_digest="d"), one("B", label=full, label_digest="d")]
    assert told(look(labelled=cases)) == [("label_in_two_cases", "A")]
    cases = [one("A", label=empty, label_digest="d"), one("B", label=empty, label_digest="d")]
    assert look(labelled=cases) == []


def _regions(name, ptv, gtv, outside):
    """A case with so many voxels of two regions, and of `gtv` outside `ptv`."""
    counts = {"gtv": {"ptv": outside}, "ptv": {"gtv": max(ptv - gtv + outside, 0)}}
    return one(name, label={"voxels": ptv, "classes": {"gtv": gtv, "ptv": ptv}, "outside": counts})


def test_a_region_outside_the_one_that_contains_it_in_most_cases():
    nested = [_regions(f"P{number}", 90, 40, 0) for number in range(4)]
    found = look(labelled=[*nested, _regions("Q", 90, 40, 7)], test=[_regions("R", 90, 40, 1)])
    assert told(found) == [("region_outside", "Q"), ("region_outside", "R")] and found[0].file == "Q_label.nii"
    assert found[0].problem.startswith("7 of 40 voxels of 'gtv' lie outside 'ptv', which contains 'gtv' in 4 of 6")
    # Too few cases for a rule, too many exceptions, cases without one of the regions, and label maps.
    assert look(labelled=[*nested[:2], _regions("Q", 90, 40, 7)]) == []
    assert look(labelled=[*nested, *(_regions(f"Q{number}", 90, 40, 7) for number in range(3))]) == []
    assert look(labelled=[*nested, _regions("Q", 0, 40, 40), _regions("R", 90, 0, 0)]) == []
    assert look(labelled=[one("A", label={"voxels": 5, "classes": {"gtv": 5}})]) == []


@pytest.mark.parametrize("alike", ["p1", "P1 ", " P 1", "P\u00a01", "\uff301"])
def test_names_that_look_alike(alike):
    found = look(labelled=[one("P1"), one("P2")], test=[one(alike)])
    assert [finding.code for finding in found] == ["ids_alike"] and repr(alike) in found[0].problem


def test_outliers():
    (finding,) = look(labelled=many(P03=facts(spacing=(3.0, 20.0, 2.0))))
    assert (finding.code, finding.case, finding.file) == ("unlike_the_others", "P03", "P03_ct.nii")
    assert "row distance in mm 20 (median: 2)" in finding.problem and "column" not in finding.problem
    (finding,) = look(labelled=many(P05=facts(std=1e5, width=1e6)))
    assert "standard deviation 1e+05" in finding.problem and "range of intensities 1e+06" in finding.problem
    # Too few cases to know what is usual; two scanners; a scatter without an end.
    assert look(labelled=many(9, P03=facts(spacing=(3.0, 20.0, 2.0)))) == []
    assert look(labelled=many(**{f"P{i:02d}": facts(spacing=(3.0, 20.0, 2.0)) for i in range(4)})) == []
    assert look(labelled=many(**{f"P{i:02d}": facts(std=1.7**i) for i in range(12)})) == []


def test_the_name_of_an_unreadable_case_is_checked():
    case, _ = one("A", patient="S")
    found = across({"labelled": [case], "test": [one("B", patient="S")[0]]}, {})
    assert told(found) == [("patient_in_two_partitions", "A")]


def test_a_copy_with_other_compression_is_found(tmp_path):
    first = verification_cases.write(tmp_path, "A", seed=1)
    other = verification_cases.write(tmp_path, "B", seed=2)
    copy = image_folders.write(tmp_path / "C_ct.nii", verification_cases.ct(seed=1), verification_cases.AFFINE)
    third = dataclasses.replace(other, case_id="C", images={"ct": NiftiFile(copy)})
    cases = {"labelled": [first], "unlabelled": [third], "test": [other]}
    reports = {case.case_id: examine(case, SETTINGS, with_label=False) for case in (first, other, third)}
    assert told(across(cases, reports)) == [("image_in_two_partitions", "C")]


def test_constant_images_have_another_error(tmp_path):
    blank = 0 * verification_cases.pet()
    cases = [verification_cases.write(tmp_path, name, seed=i, pet=blank) for i, name in enumerate("AB")]
    reports = {case.case_id: examine(case, SETTINGS, with_label=False) for case in cases}
    assert [report.findings[0].code for report in reports.values()] == ["constant_image"] * 2
    assert across({"labelled": cases[:1], "test": cases[1:]}, reports) == []
