"""`python -m semicml_tf.diagnose FOLDER stages`: closed forms, and a run whose networks have known answers."""

import csv
import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.diagnostics import stage_text
from semicml_tf.diagnostics.stage_report import compared, dice_by_case, pooled
from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition
from tests.support.evaluation_data import boxes
from tests.support.quick_runs import shallow
from tests.support.relearning_run import make_study, patients


def test_a_label_that_equals_the_better_teachers_is_worse_in_no_patient():
    alone = {"ct": {"a": 0.5, "b": 0.9}, "pet": {"a": 0.7, "b": 0.8}}
    same = compared(alone["pet"], alone, "pet")
    assert same["than_better"] == {"patients": 2, "worse": 0, "mean_gain": 0.0}
    # The best teacher of patient b is that of CT.
    assert same["than_best"] == {"patients": 2, "worse": 1, "mean_gain": pytest.approx(-0.05)}
    fused = compared({"a": 0.6, "b": 0.95}, alone, "pet")
    assert fused["than_better"] == {"patients": 2, "worse": 1, "mean_gain": pytest.approx(0.025)}
    assert fused["than_best"] == {"patients": 2, "worse": 1, "mean_gain": pytest.approx(-0.025)}


def test_a_patient_without_the_better_teachers_modality_counts_against_the_other_one():
    alone = {"ct": {"a": 0.5, "b": 0.4}, "pet": {"a": 0.7}}
    found = compared({"a": 0.7, "b": 0.4}, alone, "pet")
    assert found["than_better"]["patients"] == 1 and found["than_best"] == {"patients": 2, "worse": 0, "mean_gain": 0.0}
    assert compared({}, {"ct": {}}, "ct")["than_better"] == {"patients": 0, "worse": 0, "mean_gain": None}


def _body(name, **dice):
    """A run of one modality with a fused label; DSC by case."""
    rows = [
        {"kind": kind, "patients": "unlabelled", "when": when, "name": one, "dice": dice[one]}
        for kind, when, one in (("network", "kept", "ct"), ("label", "before", "pet"), ("label", "before", "fused"))
    ]
    comparison = [{"when": "before", **compared(dice["fused"], {"pet": dice["pet"]}, "pet")}]
    label = {"batch_statistics": False}
    kept = {"ct": {"stage": "prel", "step": 7}}
    return {"name": name, "scores": rows, "comparison": comparison, "label": label, "kept": kept}


def test_runs_are_pooled_patient_by_patient():
    one = _body("fold-0", ct={"a": 0.2}, pet={"a": 0.5}, fused={"a": 0.25})
    two = _body("fold-1", ct={"b": 0.5, "c": 0.8}, pet={"b": 0.5, "c": 0.5}, fused={"b": 0.5, "c": 1.0})
    total = pooled([one, two])
    assert {row["name"]: (row["count"], row["mean"]) for row in total["scores"]} == {
        "ct": (3, pytest.approx(0.5)),
        "pet": (3, pytest.approx(0.5)),
        "fused": (3, pytest.approx(1.75 / 3)),
    }
    assert total["comparison"][0]["than_better"] == {"patients": 3, "worse": 1, "mean_gain": pytest.approx(0.25 / 3)}
    body = {"runs": [one, two], "pooled": total, "truth": {"data_hash": "f" * 64}, "command": "python"}
    text = stage_text.text(body)
    assert "| fold-1 | 2 | 0.650 |" in text and "| all runs | 3 | 0.500 |" in text
    assert "| fold-0 | 0.500 | 0.250 | pet | 1 of 1 (-0.250) | 1 of 1 (-0.250) |" in text
    assert "| all runs | 0.500 | 0.583 |  | 1 of 3 (+0.083) | 1 of 3 (+0.083) |" in text
    assert "* fold-1: ct of prel, step 7" in text


def test_dice_by_case_are_means_over_classes_without_ignored_voxels():
    labels = LabelDefinition({"wt": (1, 2), "tc": (2,)}, ignore_value=9)
    upper, lower = (slice(0, 2),), (slice(0, 1),)
    record = boxes("a", labels, {"wt": upper, "tc": lower}, ignored=(slice(4, 6),))
    answer = np.zeros((2, *record.grid.shape), np.float32)
    answer[0, :1], answer[0, 4:], answer[1, :1] = 0.9, 0.9, 0.9
    cuts = {"wt": 0.5, "tc": 0.5}
    segmenters = {"net": lambda record: answer, "absent": lambda record: None}
    found = dice_by_case([record], segmenters, {"net": cuts, "absent": cuts}, jobs=2)
    assert found == {"net": {"a": pytest.approx((2 / 3 + 1) / 2)}, "absent": {}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A run of constant networks with a threshold of 0.3; a shallow U-Net replaces the network."""
    with shallow():
        folder = make_study(tmp_path_factory.mktemp("stages"))
        path = folder / "run" / "history.csv"
        with open(path, newline="", encoding="utf-8") as stream:
            rows = [row | {"threshold_ct": "0.3", "threshold_pet": "0.3"} for row in csv.DictReader(stream)]
        with open(path, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        yield folder


def test_networks_and_labels_are_scored_stage_by_stage(study, capsys):
    """A constant map is empty, or covers the whole patient, whose DSC then follows from the lesion's share."""
    commandline.call("semicml_tf.diagnose", [str(study / "run"), "stages", f"--truth={study / 'truth'}"])
    out = study / "run" / "evaluation" / "stages"
    body = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (run,) = body["runs"]
    scores = {(row["kind"], row["patients"], row["when"], row["name"]): row["dice"] for row in run["scores"]}
    covering = {
        name: 2 * int(one.native_label.sum()) / (int(one.native_label.sum()) + one.native_label.size)
        for name, one in patients().items()
    }
    for partition, names in (("unlabelled", ("u0", "u1")), ("test", ("t0",))):
        empty, whole = dict.fromkeys(names, 0.0), {name: pytest.approx(covering[name]) for name in names}
        of_networks = [scores["network", partition, "after mutual", name] for name in ("ct", "pet")]
        assert of_networks == [empty, whole]
        assert [scores["network", partition, "last checkpoint", name] for name in ("ct", "pet")] == [whole, whole]
        assert scores["network", partition, "kept", "ct"].keys() == set(names)
    # The teachers' 0.2 and 0.6 have a mean of 0.4; later 0.4 and 0.8 have 0.6. Labels are cut at 0.5.
    empty, whole = dict.fromkeys(("u0", "u1"), 0.0), {name: pytest.approx(covering[name]) for name in ("u0", "u1")}
    labels = [
        [scores["label", "unlabelled", when, one] for one in ("ct", "pet", "fused")] for when in ("before", "after")
    ]
    assert labels == [[empty, whole, empty], [empty, whole, whole]]
    worse = {row["when"]: (row["than_better"]["worse"], row["than_best"]["worse"]) for row in run["comparison"]}
    assert worse == {"before": (2, 2), "after": (0, 0)}
    assert run["label"]["better_teacher"] == "pet" and run["label"]["fused"] == "mean of ct and pet"
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "2 of 2" in text and "0 of 2 (+0.000)" in text and text in capsys.readouterr().out


def test_a_hidden_truth_without_a_label_is_refused(study):
    with pytest.raises(UserError, match="2 unlabelled patients, but 2 have none here"):
        commandline.call("semicml_tf.diagnose", [str(study / "run"), "stages", f"--truth={study / 'data'}"])
