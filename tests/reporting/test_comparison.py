"""The report on several runs: comparisons of networks, and saved labels."""

import json

import pytest

from semicml_tf.reporting import annotation_curve, page, run_facts
from tests.reporting.test_page import Parsed
from tests.support import report_runs

NAMES = [f"p{number}" for number in range(8)]


def _page(*folders):
    return Parsed(page.build(run_facts.load_all(folders, "test"), command="x").decode())


def _even(ct: float, pet: float) -> dict:
    return {"ct": dict.fromkeys(NAMES, ct), "pet": dict.fromkeys(NAMES, pet)}


def _rows(parsed, caption):
    """The cells' texts of the table with this caption, row by row."""
    start = next(place for place, text in enumerate(parsed.texts) if text.startswith(caption))
    return parsed.texts[start : start + 60]


def test_the_first_lines_say_whether_a_network_beats_the_baselines(tmp_path):
    dice = {"ct": dict.fromkeys(NAMES, 0.05), "pet": dict.fromkeys(NAMES, 0.7)}  # the blind row has 0.1
    parsed = _page(report_runs.write(tmp_path / "run", dice, images=None))
    text = parsed.text
    assert "mean DSC 0.050, 0 of 8 patients missed" in text and "mean DSC 0.700" in text
    assert "Not above" in text and text.index("Not above") < text.index("Above the best no-network baseline")
    assert "8 test patients, networks for ct and pet, trained by semi_cml then prel, seed 7." in text


def test_runs_are_tested_against_each_other_patient_by_patient(tmp_path):
    low = {name: 0.5 + 0.01 * place for place, name in enumerate(NAMES)}
    high = {name: value + 0.1 + 0.002 * place for place, (name, value) in enumerate(low.items())}
    first = report_runs.write(tmp_path / "first", {"ct": high, "pet": low}, images=None)
    other = report_runs.write(tmp_path / "other", {"ct": low, "pet": low}, images=None)
    cells = _rows(_page(first, other), "Difference in mean DSC")
    # Eight of eight to one side: p = 2 / 2^8, twice of it where two modalities are tested; nothing differs in pet.
    assert {"+0.107", "0.008", "0.016", "8 of 8", "+0.000", "0 of 8", "1.000"} <= set(cells)


def test_runs_that_were_scored_against_another_truth_are_not_compared(tmp_path):
    first = report_runs.write(tmp_path / "first", _even(0.6, 0.7), images=None)
    other = report_runs.write(tmp_path / "other", _even(0.5, 0.6), images=None)
    path = other / "evaluation" / "test" / "metrics.json"
    body = json.loads(path.read_text())
    body["rows"][0]["cases"][3]["truth_ml"] = 5.1
    path.write_text(json.dumps(body))
    text = _page(first, other).text
    assert "Not compared" in text and "the truth of p3 differs" in text


def test_labels_saved_are_read_from_the_curve_of_labelled_patients_alone(tmp_path):
    runs = [
        report_runs.write(tmp_path / "two", _even(0.5, 0.5), labelled=2, method=("supervised",), images=None),
        report_runs.write(tmp_path / "eight", _even(0.7, 0.6), labelled=8, method=("supervised",), images=None),
        report_runs.write(tmp_path / "ours", _even(0.6, 0.65), labelled=2, images=None),
    ]
    # The dataset with the number of labelled patients is missing.
    for folder, labelled in zip(runs, (2, 8, 2)):
        cases = folder / "evaluation" / "test" / "cases"
        cases.mkdir()
        index = {"index_version": 2, "labelled_patients": labelled, "case_images": "all"}
        index |= {"modalities": [], "thresholds": {}, "cases": []}
        (cases / "index.json").write_text(json.dumps(index))
    cells = _rows(_page(*runs), "Labelled patients saved")
    # Half-way in ct over the logarithm of 2 and 8 lies 4; pet's curve ends below ours.
    assert {"4", "2", "more than 8", "more than 6"} <= set(cells)


@pytest.mark.parametrize(("curve", "text"), [({4: [0.5]}, "Here: only runs with 4"), ({}, "Here: none")])
def test_the_page_says_why_labels_saved_are_unknown(curve, text):
    body = annotation_curve.labels_saved(
        {"ct": {"prel": {4: [0.6], 8: [0.7]}, **({"supervised": curve} if curve else {})}}
    )
    assert "is unknown" in body and text in body


def test_a_score_below_the_curve_saves_nothing():
    body = annotation_curve.labels_saved({"ct": {"prel": {4: [0.3]}, "supervised": {4: [0.5], 8: [0.5, 0.7]}}})
    assert "fewer than 4<" in body and ">none<" in body and "4 (1), 8 (2)" in body


def test_a_curve_that_does_not_rise_gives_no_number():
    body = annotation_curve.labels_saved({"ct": {"prel": {4: [0.7]}, "supervised": {4: [0.6], 8: [0.59]}}})
    assert "not improved by more labels" in body and ">unknown<" in body
