"""Several classes: scores of each and of their mean, by closed forms; ignored voxels count in nothing."""

import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import calibration, comparison, postprocessing_choice, report, trivial_baselines
from semicml_tf.evaluation.score_cases import evaluate_predictions
from semicml_tf.labels import LabelDefinition
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.runs.run_folder import Run
from tests.support.evaluation_data import NORMALISATION, WINDOW, boxes, write_dataset, write_run

REGIONS = LabelDefinition({"wt": (1, 2, 4), "tc": (1, 4), "et": (4,)}, ignore_value=255)
ORGANS = LabelDefinition({"liver": (1,), "kidney": (2,), "spleen": (3,)}, "softmax")
WHOLE = (slice(1, 5), slice(4, 14), slice(4, 14))
CORE = (slice(2, 4), slice(4, 14), slice(4, 14))
NOBODY = (slice(None), slice(20, 32), slice(20, 32))


def _drawn(record, masks, value=0.9):
    """Probabilities of the boxes by class."""
    soft = np.zeros((len(record.labels.names), *record.grid.shape), np.float32)
    for number, name in enumerate(record.labels.names):
        if name in masks:
            soft[number][masks[name]] = value
    return soft


def test_each_region_has_its_own_score():
    """wt: half of the truth is predicted, DSC 2/3. tc: a perfect mask. et: predicted without truth, a false alarm."""
    record = boxes("a", REGIONS, {"wt": WHOLE, "tc": CORE})
    found = {"wt": CORE, "tc": CORE, "et": (slice(2, 3), slice(4, 5), slice(4, 6))}
    scores = evaluate_predictions(
        [record], {"mr": lambda record: _drawn(record, found)}, thresholds={"mr": dict.fromkeys(REGIONS.names, 0.5)}
    )["mr"]
    assert {name: one[0].dice for name, one in scores.items()} == {"wt": pytest.approx(2 / 3), "tc": 1.0, "et": 0.0}
    assert [scores[name][0].outcome for name in REGIONS.names] == ["both present", "both present", "false alarm"]
    assert scores["wt"][0].truth_ml == pytest.approx(0.4) and scores["wt"][0].prediction_ml == pytest.approx(0.2)
    assert [scores[name][0].lesions_false for name in REGIONS.names] == [0, 0, 1]
    assert scores["et"][0].hd95_mm == pytest.approx(record.native_grid.diagonal_mm)


def test_of_exclusive_classes_the_largest_probability_counts():
    record = boxes("a", ORGANS, {"liver": CORE})
    soft = _drawn(record, {"liver": CORE}, 0.4)
    soft[1][CORE] = 0.3  # the background has 0.3
    soft[2][1, 20:24, 20:24] = 0.45  # the background has 0.55
    kept = []
    scores = evaluate_predictions(
        [record],
        {"ct": lambda record: soft},
        thresholds={"ct": {}},
        postprocessing={"ct": {"liver": Postprocessing.parse("largest")}},
        on_case=lambda record, answers: kept.append(answers["ct"]),
    )["ct"]
    assert [scores[name][0].dice for name in ORGANS.names] == [1.0, 1.0, 1.0]
    assert [scores[name][0].outcome for name in ORGANS.names] == ["both present", "both empty", "both empty"]
    assert kept[0].masks[0].sum() == record.label.astype(bool).sum() and not kept[0].masks[1:].any()


def test_ignored_voxels_change_no_number():
    plain = boxes("a", REGIONS, {"wt": WHOLE, "tc": CORE, "et": CORE})
    ignored = boxes("a", REGIONS, {"wt": WHOLE, "tc": CORE, "et": CORE}, NOBODY)

    def wrong_there(record):
        soft = _drawn(record, {"wt": WHOLE, "tc": WHOLE, "et": CORE})
        if record is ignored:
            soft[:, 2, 22:30, 22:30] = 0.8
        return soft

    def scored(record):
        return evaluate_predictions([record], {"mr": wrong_there})["mr"]

    assert scored(ignored) == scored(plain)
    tallies = [
        calibration.tally(wrong_there(ignored)[0], ignored.labels.mask(ignored.label, "wt"), ignored=where)
        for where in (ignored.labels.ignored(ignored.label), None)
    ]
    assert tallies[0].drawn == tallies[0].hits == 400 and tallies[1].drawn == 464
    assert tallies[0].bins.count.sum() == 6 * WINDOW**2 - 6 * 12**2
    # The ellipsoid that fits best without ignored voxels is that of the field without them.
    rows = trivial_baselines.fit([ignored], NORMALISATION)
    assert all(set(of_classes) == set(REGIONS.names) for of_classes in rows.values())
    assert rows["ct threshold"]["wt"].labelled_dice == 1.0
    assert rows["ct threshold"]["tc"].labelled_dice == pytest.approx(2 * 200 / 600)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """An evaluated run of three regions, whose networks predict all regions in each class."""
    import keras

    def network(self, modality):
        slices = keras.Input((WINDOW, WINDOW, 1))
        return keras.Model(slices, keras.ops.repeat(0.9 * slices, 3, axis=-1))

    folder = tmp_path_factory.mktemp("classes")
    cases = {
        "a": {"wt": WHOLE, "tc": CORE, "et": CORE},
        "b": {"wt": WHOLE, "tc": WHOLE},
    }
    partitions = {
        partition: [boxes(f"{partition}-{name}", REGIONS, masks, NOBODY) for name, masks in cases.items()]
        for partition in ("labelled", "validation", "test")
    }
    write_run(folder / "run", write_dataset(folder / "data", partitions, labels=REGIONS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "network", network)
        commandline.call("semicml_tf.evaluate", [str(folder / "run")])
        commandline.call("semicml_tf.evaluate", [str(folder / "run"), "--choose_postprocessing"])
    return folder / "run"


def test_a_report_has_rows_of_classes_and_of_their_mean(evaluated):
    path = evaluated / "evaluation" / "test" / "metrics.json"
    body = report.load(path)
    assert body["report_version"] == 3 and report.targets(body) == ("wt", "tc", "et")
    # Everything is drawn as WHOLE. et of b is a false alarm.
    expected = {"wt": (1.0, 1.0), "tc": (2 / 3, 1.0), "et": (2 / 3, 0.0)}
    for target, dice in expected.items():
        for row in report.networks(body, target):
            assert [case["dice"] for case in row["cases"]] == pytest.approx(dice)
    for row in report.networks(body):
        assert [case["dice"] for case in row["cases"]] == pytest.approx([7 / 9, 2 / 3])
        assert row["summary"]["dice"]["mean"] == pytest.approx(13 / 18)
        assert [case["outcome"] for case in row["cases"]] == ["both present", "false alarm"]
    assert [row["name"] for row in report.rows(body)] == ["ct", "pet", "blind ellipsoid", "ct threshold"]
    assert body["thresholds"]["ct"] == dict.fromkeys(REGIONS.names, 0.5)
    assert body["postprocessing"]["pet"] == dict.fromkeys(REGIONS.names, "none")
    lines = (path.parent / "metrics.csv").read_text().splitlines()
    assert lines[0].startswith("row,kind,class,n,case_id") and len(lines) == 1 + 4 * 4 * 2
    table = (path.parent / "table.md").read_text()
    assert "mean of classes" in table and "wt:1+2+4,tc:1+4,et:4 (regions; 255 is ignored)" in table
    assert "Failures of ct network, et: false alarm test-b." in table


def test_runs_are_compared_by_class_and_by_their_mean(evaluated, tmp_path):
    path = evaluated / "evaluation" / "test" / "metrics.json"
    body = comparison.build([path, path], ["one", "two"])
    assert [(one["modality"], one["target"]) for one in body["tests"]] == [
        (modality, target) for modality in ("ct", "pet") for target in (None, *REGIONS.names)
    ]
    text = comparison.markdown(body)
    assert "| one | ct | tc |" in text and "one, ct, et: false alarm test-b" in text
    other = json.loads(path.read_text())
    other["labels"]["classes"]["et"] = [3]
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="the classes differ"):
        comparison.build([path, tmp_path / "other.json"], ["one", "two"])
    other["labels"]["classes"].pop("et")
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="rows of classes that it does not define"):
        report.load(tmp_path / "other.json")


def test_images_are_kept_by_class(evaluated):
    folder = evaluated / "evaluation" / "test" / "cases"
    index = json.loads((folder / "index.json").read_text())
    assert index["index_version"] == 3 and index["classes"] == list(REGIONS.names)
    assert index["calibration"].keys() == {f"{name} {one}" for name in ("ct", "pet") for one in REGIONS.names}
    entry = next(entry for entry in index["cases"] if entry["case_id"] == "test-a")
    with np.load(folder / entry["folder"] / "slice.npz") as arrays:
        # The first slice with the most truth of any class.
        assert arrays["truth-0"].sum() == arrays["mask-1-1"].sum() == 100 and not arrays["truth-1"].any()
        assert arrays["probability-0-2"].max() == round(0.9 * 255)


def test_post_processing_is_chosen_for_each_class(evaluated):
    """et: all of it is 0.4 ml and the false alarm is dropped with it, which costs one patient and gains another."""
    run = Run.load(evaluated)
    chosen = {one: str(steps) for one, steps in postprocessing_choice.load(run)["pet"].items()}
    assert chosen == {"wt": "none", "tc": "none", "et": "min_ml=0.5"}
    body = json.loads((evaluated / "postprocessing.json").read_text())
    body["modalities"]["ct"]["classes"].pop("tc")
    (evaluated / "postprocessing.json").write_text(json.dumps(body))
    with pytest.raises(UserError, match="other classes than wt, tc, et"):
        postprocessing_choice.load(run)
