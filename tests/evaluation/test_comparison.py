"""Evaluated runs side by side: tests between them, and failures."""

import json
import math

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import comparison
from tests.support.experiment_data import DIAGONAL_MM, finish

COMMAND = "semicml_tf.compare"


@pytest.fixture
def runs(tmp_path):
    """metrics.json of three runs on eight patients: b is better than a in ct by patients, c equals a in pet."""
    dice = [0.3, 0.4, 0.5, 0.6, 0.7, 0.65, 0.55, 0.45]
    better = [value + 0.01 * (index + 1) for index, value in enumerate(dice)]
    made = {
        "a": {"ct": dice, "pet": dice},
        "b": {"ct": better, "pet": [0.0, *dice[1:]]},
        "c": {"ct": dice[::-1], "pet": dice},
    }
    changes = {"run": {"data_hash": "data-4-1", "run_hash": "0123"}}
    return {name: finish(tmp_path, name, "4", 1, scores, **changes).metrics_path for name, scores in made.items()}


def test_every_two_runs_are_tested_in_every_modality(runs):
    found = comparison.build(list(runs.values()), list(runs))["tests"]
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(one["modality"], one["first"], one["second"]) for one in found] == [
        (modality, *pair) for modality in ("ct", "pet") for pair in pairs
    ]
    of = {(one["modality"], one["first"], one["second"]): one for one in found}
    # All eight differ with one sign: 2 of 2^8 changes of sign; the least of six values is multiplied by six.
    first = of["ct", "a", "b"]
    assert first["p"] == pytest.approx(2 / 2**8) and first["p_holm"] == pytest.approx(12 / 2**8)
    assert first["difference"] == pytest.approx(-0.045) and first["patients"] == first["differing"] == 8
    assert (of["pet", "a", "c"]["p"], of["pet", "a", "c"]["differing"]) == (1.0, 0)
    # One patient that differs tells nothing.
    assert of["pet", "a", "b"]["p"] == 1.0 and of["pet", "a", "b"]["differing"] == 1
    assert all(one["p_holm"] >= one["p"] for one in found)


def test_failures_are_named_in_table_and_json(runs):
    body = comparison.build([runs["a"], runs["b"]], ["a", "b"], failure_dice=0.45)
    failed = {(run["name"], row["modality"]): row["failures"] for run in body["runs"] for row in run["rows"]}
    assert failed["a", "pet"]["dice_below"] == [["t0", 0.3], ["t1", 0.4]] and failed["b", "pet"]["missed"] == ["t0"]
    lines = comparison.markdown(body).splitlines()
    assert "b, pet: missed t0; DSC below 0.45 t1 (0.400)  " in lines
    line = next(line for line in lines if line.startswith("| ct | a less b |"))
    assert line == "| ct | a less b | -0.045 | 8/8 | 0.008 | 0.016 |"


def test_the_command_prints_the_table_and_writes_it_with_json(runs, tmp_path, capsys):
    arguments = [*map(str, runs.values()), "--names=a,b,c", f"--output={tmp_path / 'out'}"]
    commandline.call(COMMAND, arguments)
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8") == printed
    body = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert body["command"].startswith(f"python -m semicml_tf.compare --runs={runs['a']} --runs=")
    assert len(body["tests"]) == 6 and len(body["runs"]) == 3
    # All are called metrics.json: their paths tell them apart where no names are given.
    commandline.call(COMMAND, [str(runs["a"]), str(runs["b"])])
    assert f"| {runs['a']} | ct |" in capsys.readouterr().out
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        commandline.call(COMMAND, arguments)
    with pytest.raises(UserError, match="a unique name for each run"):
        comparison.build([runs["a"], runs["b"]], ["a", "a"])


def test_a_report_that_lacks_a_newer_measure_is_compared(runs, tmp_path):
    body = json.loads(runs["a"].read_text(encoding="utf-8"))
    for row in body["rows"]:
        del row["summary"]["surface_dice"]
        for case in row["cases"]:
            del case["surface_dice"]
    del body["policy"]["surface_dice"]
    (tmp_path / "older.json").write_text(json.dumps(body), encoding="utf-8")
    mixed, today = (comparison.build([path, runs["b"]], ["a", "b"]) for path in (tmp_path / "older.json", runs["a"]))
    assert mixed["tests"] == today["tests"]
    assert comparison.markdown(mixed).count("\n") == comparison.markdown(today).count("\n")


def test_other_definitions_are_not_compared(runs, tmp_path):
    def changed(change):
        body = json.loads(runs["b"].read_text(encoding="utf-8"))
        change(body)
        (tmp_path / "changed.json").write_text(json.dumps(body))
        return [runs["a"], tmp_path / "changed.json"]

    with pytest.raises(UserError, match="the policies differ"):
        comparison.build(changed(lambda body: body["policy"].update(missed="HD95 0")), ["a", "b"])
    with pytest.raises(UserError, match="the policies differ"):
        comparison.build(changed(lambda body: body.update(surface_tolerance_mm=3.0)), ["a", "b"])
    with pytest.raises(UserError, match="report_version: expected 2 or 3, got 4"):
        comparison.build(changed(lambda body: body.update(report_version=4)), ["a", "b"])


def test_a_missed_patient_costs_the_diagonal_in_one_mean_and_not_in_the_other(runs):
    (row,) = (row for row in comparison.build([runs["b"]], ["b"])["runs"][0]["rows"] if row["modality"] == "pet")
    summary = row["summary"]
    assert summary["hd95_mm"]["mean"] == pytest.approx((7 * 10 + DIAGONAL_MM) / 8)
    assert summary["without_missed_and_false_alarms"]["hd95_mm"]["mean"] == pytest.approx(10.0)
    assert math.isclose(summary["without_missed_and_false_alarms"]["cases"], 7)
