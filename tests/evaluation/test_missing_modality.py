"""Patients who lack a modality are scored in their other modalities; comparisons are between the same patients."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import baseline_margin, comparison, overlay, report, table, trivial_baselines
from semicml_tf.evaluation.score_cases import Answer, evaluate_predictions
from semicml_tf.labels import LESION
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.runs.run_folder import Run
from tests.support.evaluation_data import (
    CONSTANTS,
    NORMALISATION,
    ball,
    band_network,
    oblique_grid,
    patient,
    without,
    write_dataset,
    write_run,
)  # fmt: skip


def _partitions():
    """t0 has both modalities, t1 CT alone, t2 PET alone, t3 both."""
    native = oblique_grid()
    spots = {"l0": (14, 12, 7), "l1": (10, 10, 5), "t0": (17, 12, 8), "t1": (10, 13, 6), "t2": (14, 12, 8)}
    records = {name: patient(name, ball(native, spot, 6.5), native) for name, spot in spots.items()}
    records["t3"] = patient("t3", ball(native, (12, 12, 5), 8.0), native)
    records["t1"], records["t2"] = without(records["t1"], "pet"), without(records["t2"], "ct")
    return {
        "labelled": [records["l0"], records["l1"]],
        "test": [records[name] for name in ("t0", "t1", "t2", "t3")],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose networks know the lesion, evaluated."""
    folder = tmp_path_factory.mktemp("missing")
    info = write_dataset(folder / "data", _partitions())
    write_run(folder / "run", info)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Run, "network", lambda self, modality: band_network())
        commandline.call("semicml_tf.evaluate", [str(folder / "run"), "--require_margin=0.05"])
    return folder / "run"


@pytest.fixture
def body(run):
    return json.loads((run / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))


def _row(body, name):
    return next(row for row in body["rows"] if row["name"] == name)


def test_every_row_has_the_patients_with_its_modality(body):
    cases_by_row = {row["name"]: [case["case_id"] for case in row["cases"]] for row in body["rows"]}
    threshold = next(name for name in cases_by_row if name.endswith("threshold"))
    expected = {"ct": ["t0", "t1", "t3"], "pet": ["t0", "t2", "t3"], "blind ellipsoid": ["t0", "t1", "t2", "t3"]}
    assert cases_by_row == expected | {threshold: expected[threshold.split()[0]]}
    for row in body["rows"]:
        assert row["summary"]["cases"] == row["summary"]["dice"]["n"] == len(row["cases"])
    assert body["lacking"] == {"ct": ["t2"], "pet": ["t1"]}
    assert [case["dice"] for case in _row(body, "pet")["cases"]] == [1.0, 1.0, 1.0]
    assert report.patients(body) == ["t0", "t1", "t2", "t3"]


def test_the_number_of_patients_is_in_every_output(run, body):
    text = (run / "evaluation" / "test" / "table.txt").read_text(encoding="utf-8")
    assert "ct network (n=3)" in text and "pet network (n=3)" in text
    assert "blind ellipsoid " in text and "blind ellipsoid (n" not in text
    assert "Partition 'test', 4 patients" in text
    assert "Without pet: t1; rows that read pet have the other patients" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("t")}
    # ct, pet, ellipsoid, threshold.
    assert lines["t1"][2:4] == ["1.000", "-"] and lines["t2"][2:4] == ["-", "1.000"]
    assert "ct network (n=3)" in (run / "evaluation" / "test" / "table.md").read_text(encoding="utf-8")
    with open(run / "evaluation" / "test" / "metrics.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["row"], row["n"]) for row in rows} >= {("ct", "3"), ("pet", "3"), ("blind ellipsoid", "4")}
    assert sum(row["row"] == "ct" for row in rows) == 3
    assert (run / "evaluation" / "test" / "overlays.png").read_bytes().startswith(b"\x89PNG")


def test_comparisons_are_between_patients_that_both_rows_have(body):
    ellipsoid = {case["case_id"]: case["dice"] for case in _row(body, "blind ellipsoid")["cases"]}
    own, other, common = baseline_margin.paired_dice(_row(body, "ct"), _row(body, "blind ellipsoid"))
    assert (own, common) == (1.0, 3) and other == pytest.approx(
        np.mean([ellipsoid[name] for name in ("t0", "t1", "t3")])
    )
    assert other != pytest.approx(_row(body, "blind ellipsoid")["summary"]["dice"]["mean"])
    assert baseline_margin.paired_dice(_row(body, "ct"), _row(body, "pet"))[2] == 2
    notes = table.paired_notes(body)
    assert any(note.startswith("ct network against pet network on their 2 common patients") for note in notes)
    assert len(notes) == len(set(notes)) == 4  # ct and pet, each with the ellipsoid, and one with the threshold


def test_the_margin_is_measured_on_common_patients():
    """The row's one good patient is not the network's."""

    def row(name, kind, scores):
        cases = [{"case_id": case, "dice": dice} for case, dice in scores.items()]
        return {"name": name, "kind": kind, "modality": name, "cases": cases}

    def failures(network, other):
        rows = [row("ct", "network", network), row("blind ellipsoid", "blind", other)]
        return baseline_margin.shortfalls({"rows": rows}, 0.1)

    assert failures({"a": 0.5}, {"a": 0.3, "b": 1.0}) == []
    assert "0.100 short" in failures({"a": 0.5, "b": 0.9}, {"a": 0.5})[0]
    assert failures({"a": 0.5}, {"b": 0.3}) == ["ct and 'blind ellipsoid' have no patient in common"]


def test_runs_are_compared_row_by_row(run, tmp_path):
    metrics = run / "evaluation" / "test" / "metrics.json"
    lines = comparison.markdown(comparison.build([metrics, metrics], ["one", "two"]))
    assert "| one | ct (n=3) |" in lines and "| blind ellipsoid |  |" in lines
    assert lines.count("Without pet: t1") == 1 and "two: ct network against pet network on their 2" in lines
    # The first row alike, the second not.
    other = json.loads(metrics.read_text(encoding="utf-8"))
    other["rows"][1]["cases"].pop()
    (tmp_path / "metrics.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="the patients differ"):
        comparison.build([metrics, tmp_path / "metrics.json"], ["one", "two"])


def test_a_row_without_any_patient_is_undefined_and_not_perfect():
    records = [without(record, "pet") for record in _partitions()["labelled"]]
    threshold = trivial_baselines.Threshold("pet", 0.2, 1.0, "SUV", 0.5)
    fitted = {"pet threshold": threshold, "ellipsoid": trivial_baselines.Ellipsoid(5.0, 0.5)}
    segmenters = {name: trivial_baselines.segmenter({LESION: one}) for name, one in fitted.items()}
    scores = evaluate_predictions(records, segmenters)
    assert scores["pet threshold"] == {} and len(scores["ellipsoid"][LESION]) == 2


def test_labelled_patients_without_a_modality_fit_the_thresholds_of_the_others():
    whole, other = _partitions()["labelled"]
    pet = {"pet": NORMALISATION["pet"]}
    fitted = trivial_baselines.fit([whole, without(other, "pet")], pet)
    assert fitted["pet threshold"] == trivial_baselines.fit([whole], pet)["pet threshold"]
    with pytest.raises(UserError, match="expected a modality with labelled patients"):
        trivial_baselines.fit([without(other, "pet")], pet)


def test_overlays_show_the_modalities_that_a_patient_has():
    record = _partitions()["test"][1]
    blank = np.zeros((1, *record.grid.shape), np.float32)

    @dataclasses.dataclass
    class Score:
        dice: float
        outcome: str = "both present"

    made = overlay.panel(record, tuple(NORMALISATION), {"ct": Answer(blank, blank > 0, {LESION: Score(0.4)})})
    assert set(made.images) == set(made.predictions) == {"ct"} and made.mean_dice == 0.4


def test_the_ellipsoid_is_that_of_the_whole_field_of_view():
    """A record that is cropped to the body gives the same ellipsoid."""
    whole = oblique_grid().for_network((0.0, 0.0, 0.0))
    start, stop = np.array([2, 3, 4]), np.array(whole.shape) - [1, 5, 2]
    box = tuple(slice(*ends) for ends in zip(start, stop))
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    grid = dataclasses.replace(whole, shape=tuple(int(n) for n in stop - start), affine=affine)
    images = {name: np.zeros(grid.shape, np.float16) for name in NORMALISATION}
    label = trivial_baselines.ellipsoid(whole, 6.0)[box].astype(np.uint8)
    record = CaseRecord(
        "a", grid, images, CONSTANTS, grid, label, label, crop_offset=tuple(map(int, start)), full_shape=whole.shape
    )
    np.testing.assert_array_equal(trivial_baselines.Ellipsoid(6.0, 0.5)(record), label)
    fitted = trivial_baselines.fit([record], NORMALISATION)[trivial_baselines.ELLIPSOID_NAME][LESION]
    assert fitted.margin_mm == pytest.approx(6.0, abs=1.0) and fitted.labelled_dice == 1.0
