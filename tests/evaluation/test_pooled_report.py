"""Pooled reports: the patients of all folds once, with summaries and intervals over all of them."""

import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation import comparison, pooled_report, report, table
from semicml_tf.evaluation.scores import summarise
from tests.support.experiment_data import finish, finish_classes


def body(tmp_path, name, dice, patients, make=finish):
    """The report of a fold that tests these patients."""
    cell = make(tmp_path / name, "ours", "4", 0, dice)
    found = json.loads(cell.metrics_path.read_text())
    for row in found["rows"]:
        for case in row["cases"]:
            case["case_id"] = patients[int(case["case_id"].removeprefix("t"))]
        row["summary"]["dice"]["mean"] = None  # is computed again
    found["run"]["run_hash"] = name
    cell.metrics_path.write_text(json.dumps(found))
    return report.load(cell.metrics_path)


@pytest.fixture
def folds(tmp_path):
    first = body(tmp_path, "a", {"ct": [0.2, 0.4, 0.6], "pet": [0.1, 0.1, 0.1]}, ["P5", "P1", "P3"])
    second = body(tmp_path, "b", {"ct": [0.8, 0.0], "pet": [0.9, 0.9]}, ["P2", "P4"])
    return {"../a": first, "../b": second}


def saved(tmp_path, found):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(found))
    return path


def test_all_patients_stand_in_one_report(tmp_path, folds):
    path = saved(tmp_path, pooled_report.pool(folds, command="again", data_hash="d"))
    found = report.load(path)
    assert report.patients(found) == ["P1", "P2", "P3", "P4", "P5"]
    ct, pet = report.networks(found)
    assert [case["dice"] for case in ct["cases"]] == [0.4, 0.8, 0.6, 0.0, 0.2]
    assert ct["summary"] == json.loads(json.dumps(summarise(report.scores(ct))))
    assert ct["summary"]["dice"]["mean"] == pytest.approx(0.4) and ct["summary"]["dice"]["interval"]
    assert ct["failures"]["missed"] == ["P4"]
    assert [row["name"] for row in report.baselines(found)] == ["blind ellipsoid", "pet threshold"]
    assert [(fold["run"], fold["run_hash"], fold["cases"]) for fold in found["folds"]] == [
        ("../a", "a", ["P5", "P1", "P3"]), ("../b", "b", ["P2", "P4"])
    ]  # fmt: skip
    assert found["folds"][0]["blind"]["blind ellipsoid"]["margin_mm"] == 7.0
    assert "Cross-validation of 2 folds" in table.screen(found)
    compared = comparison.build([path, path], ["one", "other"])
    assert compared["data_hash"] == "d" and compared["patients"] == report.patients(found)


def test_classes_are_pooled_one_by_one(tmp_path):
    parts = [
        body(tmp_path, name, {"a": {"ct": [dice]}, "b": {"ct": [1.0]}}, [name], finish_classes)
        for name, dice in (("x", 0.2), ("y", 0.4))
    ]
    found = report.load(saved(tmp_path, pooled_report.pool(dict(zip("xy", parts)), command="again", data_hash="d")))
    assert [row["summary"]["dice"]["mean"] for row in report.networks(found, "a")] == [pytest.approx(0.3)]
    assert [row["summary"]["dice"]["mean"] for row in report.networks(found)] == [pytest.approx(0.65)]


def test_thresholds_on_different_modalities_are_one_row(folds):
    for row in folds["../b"]["rows"]:
        row["name"] = row["name"].replace("pet threshold", "ct threshold")
    found = pooled_report.pool(folds, command="again", data_hash="d")
    assert [row["name"] for row in report.baselines(found)] == ["blind ellipsoid", "intensity threshold"]


def test_a_patient_counts_once_over_repeats(tmp_path, folds):
    first = pooled_report.pool(folds, command="again", data_hash="d")
    for row in report.networks(folds["../a"]):
        for case in row["cases"]:
            case["dice"] += 0.2
    folds["../b"]["rows"][0]["cases"][0]["outcome"] = "missed"
    second = pooled_report.pool(folds, command="again", data_hash="d")
    found = report.load(saved(tmp_path, pooled_report.mean_over_repeats([first, second], command="again")))
    ct = report.networks(found)[0]
    assert {case["case_id"]: pytest.approx(case["dice"]) for case in ct["cases"]} == {
        "P1": 0.5, "P2": 0.8, "P3": 0.7, "P4": 0.0, "P5": 0.3
    }  # fmt: skip
    assert ct["failures"]["missed"] == ["P2", "P4"] and ct["summary"]["lesions"] is None
    assert len(found["folds"]) == 4 and "2 repeats" in " ".join(found["notes"])
    assert pooled_report.mean_over_repeats([first], command="again") == first


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda one: one["rows"][0]["cases"][0].update(case_id="P1"), "patient P1 is scored in two folds, ../a and"),
        (lambda one: one.update(partition="validation"), "../b and ../a differ in partition"),
        (lambda one: one.update(surface_tolerance_mm=3.0), "differ in surface_tolerance_mm"),
        (lambda one: one["rows"].pop(0), "have different rows"),
    ],
)
def test_folds_that_do_not_fit_together_are_refused(folds, change, message):
    change(folds["../b"])
    with pytest.raises(UserError, match=message):
        pooled_report.pool(folds, command="again", data_hash="d")
