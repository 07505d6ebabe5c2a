"""`python -m semicml_tf.diagnose RUN relearning`: the report of a run, and its labels against a hidden truth."""

import dataclasses
import json
import shutil
import types

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.diagnostics import relearning, teachers
from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.methods.fitted_fusion import FittedFusion
from semicml_tf.runs import run_folder
from tests.support.evaluation_data import NORMALISATION, without, write_dataset
from tests.support.relearning_run import LEVELS, SETTINGS, hidden, history, make_study, patients


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("relearning"))


@pytest.fixture
def study(made_once, tmp_path):
    """A copy of the run, its data and its truth."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "run" / "run.json"
    path.write_text(path.read_text().replace(str(made_once / "data"), str(tmp_path / "data")))
    return tmp_path


def _report(study, *arguments):
    commandline.call("semicml_tf.diagnose", [str(study / "run"), "relearning", *map(str, arguments)])
    return json.loads((study / "run" / "evaluation" / "relearning" / "report.json").read_text())


def test_the_gap_is_the_teachers_lead():
    found = relearning.find(history(), SETTINGS, ("ct", "pet"), "run")
    best = {"ct": {"dice": 0.55, "threshold": 0.3}, "pet": {"dice": 0.65, "threshold": 0.7}}
    rows = relearning.gaps(found, ("ct", "pet"), best, None)
    assert [(row["when"], row["gap"]) for row in rows] == [
        ("before", pytest.approx(0.40)),
        ("after", pytest.approx(-0.05)),
        ("kept", pytest.approx(0.10)),
    ]
    assert rows[2]["threshold"] == {"ct": 0.3, "pet": 0.7}
    # The teacher was chosen by the best scores until then, not by the last ones.
    assert relearning.scores_before(found, ("ct", "pet"), None) == {"ct": 0.30, "pet": 0.60}


def test_with_several_modalities_the_lead_is_over_the_best_other_modality():
    found = relearning.find(history(), SETTINGS, ("ct", "pet"), "run")
    best = {name: {"dice": dice, "threshold": 0.5} for name, dice in (("ct", 0.5), ("pet", 0.7), ("mr", 0.6))}
    mr = {"dice_mr": "0.6", "threshold_mr": "0.5"}
    rows, earlier = ([row | mr for row in part] for part in (found.rows, found.earlier))
    found = dataclasses.replace(found, rows=rows, earlier=earlier)
    assert relearning.gaps(found, tuple(best), best, None)[-1]["gap"] == pytest.approx(0.1)


def test_a_run_that_starts_with_the_stage_is_compared_with_its_initial_run():
    rows = [row | {"epoch": str(index)} for index, row in enumerate(history()[2:])]
    found = relearning.find(rows, SETTINGS | {"epochs": [3], "teachers": "better"}, ("ct", "pet"), "run")
    initial = {"ct": {"dice": 0.1, "threshold": 0.5}, "pet": {"dice": 0.3, "threshold": 0.5}}
    assert (found.number, found.finished, found.writers) == (0, False, ("pet",))
    gaps = relearning.gaps(found, ("ct", "pet"), initial, initial)
    assert [row["when"] for row in gaps] == ["before", "so far", "kept"] and gaps[0]["gap"] == pytest.approx(0.2)
    assert relearning.scores_before(found, ("ct", "pet"), initial) == {"ct": 0.1, "pet": 0.3}
    assert relearning.gaps(found, ("ct", "pet"), initial, None)[0]["when"] == "so far"


def test_a_run_without_such_a_stage_gets_one_line(study):
    rows = (study / "run" / "history.csv").read_text().splitlines()
    (study / "run" / "history.csv").write_text("\n".join(rows[:3]) + "\n")
    with pytest.raises(UserError, match="no stage of this run") as caught:
        _report(study)
    assert "\n" not in caught.value.line


def test_without_truth_the_report_has_the_run_only(study, capsys):
    body = _report(study)
    assert body["calibration"] is None
    assert body["taught"]["teacher"] == "pet" and body["taught"]["writers"] == ["ct", "pet"]
    assert [row["alarm"] for row in body["epochs"]] == [None, "empty | masks"]
    out = study / "run" / "evaluation" / "relearning"
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "report.md"]
    printed = capsys.readouterr().out
    assert (out / "report.md").read_text() in printed and "--truth" in printed and "+0.400" in printed


def test_labels_are_measured_against_the_hidden_truth(study):
    body = _report(study, f"--truth={study / 'truth'}")
    calibration = body["calibration"]
    assert calibration["patients"] == ["u0", "u1"]
    made = patients()
    share = sum(made[n].label.sum() for n in ("u0", "u1")) / sum(made[n].label.size for n in ("u0", "u1"))
    rows = {(row["when"], row["label"]): row for row in calibration["rows"]}
    assert set(rows) == {(when, label) for when in ("before", "after") for label in ("ct", "pet", "mean of ct and pet")}
    for (when, label), row in rows.items():
        level = LEVELS.get((when, label), {"before": 0.4, "after": 0.6}[when])
        assert row["ece"] == row["ece_unsure"] == pytest.approx(level - share, abs=1e-5)
        assert row["brier"] == pytest.approx(share * (1 - level) ** 2 + (1 - share) * level**2, abs=1e-5)
        assert row["kept"] == (level > 0.5) and row["mass_kept"] == pytest.approx(level, abs=1e-5)
        assert row["ppv"] == (pytest.approx(share) if level > 0.5 else None)
    out = study / "run" / "evaluation" / "relearning"
    assert (out / "calibration.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "report.md").read_text()
    assert "mean of ct and pet" in text and "one pass" in text


def _labels(constants, cuts, **changes):
    found = relearning.find(history(), SETTINGS | changes, ("ct", "pet"), "run")
    segmenters = {name: lambda record, level=level: np.full((1, 1, 2, 2), level) for name, level in constants.items()}
    made = teachers.labels(teachers.Writers("before", segmenters, cuts), found, types.SimpleNamespace(labels=PLAIN))
    return {name: float(q[0, 0, 0, 0]) for name, q in made.items()}


def test_labels_are_made_of_maps_as_in_training():
    maps, cuts = {"ct": 0.2, "pet": 0.6}, {"ct": 0.1, "pet": 0.5}
    assert _labels(maps, cuts) == maps | {"mean of ct and pet": pytest.approx(0.4)}
    assert _labels(maps, cuts, pseudo_labels="hard") == maps | {"mean of ct and pet, cut at 0.5": 0.0}
    # Odds 1/4 over 1/9, and 3/2 over 1.
    odds = 9 / 4 * 3 / 2
    found = _labels(maps, cuts, label_fusion="odds", label_sharpness=1.0)
    assert found == maps | {"odds of ct and pet": pytest.approx(odds / (1 + odds), abs=1e-5)}
    alone = {"pet": 0.6}
    assert _labels(alone, cuts, teachers="better") == alone
    assert _labels(alone, cuts, teachers="better", label_fusion="odds").keys() == {"pet", "odds of pet"}


def test_a_label_counts_from_the_thresholds_of_its_time(study):
    path = study / "run" / "run.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"settings": SETTINGS | {"label_fusion": "odds", "label_sharpness": 1.0}}))
    rows = {
        (row["when"], row["label"]): row for row in _report(study, f"--truth={study / 'truth'}")["calibration"]["rows"]
    }
    for when in ("before", "after"):
        # Both thresholds are 0.4: odds of 2/3.
        odds = np.prod([LEVELS[when, name] / (1 - LEVELS[when, name]) / (2 / 3) for name in ("ct", "pet")])
        assert rows[when, "odds of ct and pet"]["mass_kept"] == pytest.approx(odds / (1 + odds), abs=1e-4)


def test_a_label_has_the_fit_of_its_time(study):
    """Before: the file of the start of the stage. After: the last checkpoint."""
    path, checkpoint = study / "run" / "run.json", run_folder.checkpoint_file(study / "run")
    settings = SETTINGS | {"label_fusion": "fitted", "fusion_deviation": 1.0, "label_sharpness": 1.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": settings}))
    fusion = FittedFusion(("ct", "pet"), 1, False, 1.0)
    with pytest.raises(UserError, match="stage-1-fusion.npz"):
        _report(study, f"--truth={study / 'truth'}")
    fits = {"before": (0.5, 1.0, -0.5), "after": (0.0, 2.0, 0.25)}
    for when, (ct, pet, offset) in fits.items():
        fusion.assign([*[1.0] * 6, ct, pet, *[0.0] * 3, offset])
        if when == "before":
            fusion.save(run_folder.fusion_file(study / "run", 1))
    with np.load(checkpoint) as stored:
        arrays = dict(stored)
    with pytest.raises(UserError, match="last.npz.*expected a checkpoint"):
        _report(study, f"--truth={study / 'truth'}")
    meta = {"run_hash": "0123456789abcdef", "method_state": {"fusion": fusion.state()}}
    np.savez(checkpoint, **arrays, meta=np.array(json.dumps(meta)))
    rows = {
        (row["when"], row["label"]): row for row in _report(study, f"--truth={study / 'truth'}")["calibration"]["rows"]
    }
    for when, (ct, pet, offset) in fits.items():
        odds = [LEVELS[when, name] / (1 - LEVELS[when, name]) / (2 / 3) for name in ("ct", "pet")]
        fused = odds[0] ** ct * odds[1] ** pet * np.exp(offset)
        row = rows[when, "fitted odds of ct and pet"]
        # The mean of all labels, and here all are equal.
        expected = fused / (1 + fused)
        assert row["brier"] == pytest.approx(
            rows[when, "pet"]["ppv"] * (1 - expected) ** 2 + (1 - rows[when, "pet"]["ppv"]) * expected**2, abs=1e-3
        )


def test_truths_that_do_not_fit_are_refused(study):
    made = patients()

    def refused(match, name, partitions, **changes):
        write_dataset(study / name, partitions, **changes)
        with pytest.raises(UserError, match=match) as caught:
            _report(study, f"--truth={study / name}")
        assert "\n" not in caught.value.line and "labelled" in caught.value.line

    everybody = {"labelled": list(made.values())}
    refused("2 unlabelled patients, but 1 have none here .u1", "few", {"labelled": [made["l0"], made["u0"]]})
    refused("spacing_mm", "spaced", everybody, spacing_mm=(1.0, 1.0, 1.0))
    renamed = {"ct": NORMALISATION["ct"], "mr": NORMALISATION["pet"]}
    refused("modalities", "named", everybody, modalities=("ct", "mr"), normalisation=renamed)
    other = {"ct": NORMALISATION["ct"], "pet": dataclasses.replace(NORMALISATION["pet"], high=10.0)}
    refused("normalisation", "scaled", everybody, normalisation=other)
    swapped = [made["l0"], dataclasses.replace(made["u1"], case_id="u0"), made["u1"]]
    refused("case u0 differs from", "swapped", {"labelled": swapped})
    refused("u0, u1", "hidden", {"labelled": [made["l0"]], "unlabelled": [hidden(made["u0"]), hidden(made["u1"])]})


def test_the_runs_data_must_be_its_own(study):
    everybody = f"--dataset={study / 'truth'}"
    with pytest.raises(UserError, match="not those that the run was trained on.*--dataset"):
        _report(study, f"--truth={study / 'truth'}", everybody)


def test_a_missing_teacher_is_named(study):
    run_folder.teacher_weights_file(study / "run", 1, "ct").unlink()
    with pytest.raises(UserError, match="stage-1-teacher-ct.npz"):
        _report(study, f"--truth={study / 'truth'}")


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["run", "labels", "--truth=truth"], "--truth is for the diagnoses 'relearning' and 'stages', got 'labels'"),
        (["run", "relearn"], "--diagnosis.*relearning, stages, similarity, labels, got 'relearn'.*Did you mean"),
        (["--diagnosis=relearning"], "expected --run, which is missing"),
        (["run"], "expected --diagnosis, which is missing"),
        (["run", "stages"], "expected --truth of the diagnosis 'stages', which is missing"),
        (["run", "labels", "--experiment_row=prel"], "--experiment_row is for the diagnosis 'stages', got 'labels'"),
        (["run", "similarity", "--require_margin=0.1"], "unknown flag --require_margin"),
    ],
)
def test_wrong_options_give_one_line(arguments, match):
    with pytest.raises(UserError, match=match) as caught:
        commandline.call("semicml_tf.diagnose", arguments)
    assert "\n" not in caught.value.line


def test_a_folder_with_other_files_is_refused(study, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="notes.txt"):
        _report(study, f"--output={tmp_path / 'mine'}")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_label_files_are_on_the_records_grid_with_their_provenance(study, capsys):
    commandline.call("semicml_tf.diagnose", [str(study / "run"), "labels"])
    folder = study / "run" / "evaluation" / "labels"
    body = json.loads((folder / "provenance.json").read_text())
    assert [case["file"] for case in body["cases"]] == ["u0_soft_label.nii.gz", "u1_soft_label.nii.gz"]
    assert sorted(path.name for path in folder.iterdir()) == ["provenance.json", *(c["file"] for c in body["cases"])]
    image = nibabel.load(folder / "u0_soft_label.nii.gz")
    record = patients()["u0"]
    # The mean of what both teachers were sure of when the stage began; not of what they are now.
    np.testing.assert_allclose(image.get_fdata(), (LEVELS["before", "ct"] + LEVELS["before", "pet"]) / 2, atol=1e-3)
    np.testing.assert_allclose(np.sort(image.header.get_zooms()), np.sort(record.grid.spacing_mm), rtol=1e-5)
    assert image.get_fdata().size == record.label.size
    assert body["left_out"] == ["u2"] and body["label"] == "mean of ct and pet"
    assert body["teacher"]["run_hash"] == body["run"]["run_hash"] == "0123456789abcdef"
    assert body["teacher"]["validation_dice"] == {"ct": 0.30, "pet": 0.60}
    assert body["data"]["data_hash"] and body["settings"]["label_fusion"] == "mean"
    assert "labels of 2 patients" in capsys.readouterr().out


def test_a_patient_without_pet_has_the_label_of_the_teacher_of_ct(study):
    """If training used patients without all modalities. Dropped patients have no label."""
    path = study / "run" / "run.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"settings": SETTINGS | {"incomplete_cases": "use"}}))
    commandline.call("semicml_tf.diagnose", [str(study / "run"), "labels"])
    folder = study / "run" / "evaluation" / "labels"
    found = json.loads((folder / "provenance.json").read_text())
    assert [case["case_id"] for case in found["cases"]] == ["u0", "u1", "u2"] and found["left_out"] == []
    alone = nibabel.load(folder / "u2_soft_label.nii.gz").get_fdata()
    np.testing.assert_allclose(alone, LEVELS["before", "ct"], atol=1e-3)


def test_labels_are_measured_on_the_patients_who_have_the_modality(study):
    path = study / "run" / "run.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"settings": SETTINGS | {"incomplete_cases": "use"}}))
    made = patients()
    third = without(dataclasses.replace(made["u1"], case_id="u2"), "pet")
    write_dataset(study / "all", {"labelled": [third, *made.values()]})
    calibration = _report(study, f"--truth={study / 'all'}")["calibration"]
    assert calibration["patients"] == ["u0", "u1", "u2"]
    before = {row["label"]: row for row in calibration["rows"] if row["when"] == "before"}
    assert {label: row["patients"] for label, row in before.items()} == {"ct": 3, "pet": 2, "mean of ct and pet": 3}
    # Two labels of 0.4 and one of CT alone.
    sizes = [record.label.sum() for record in (made["u0"], made["u1"], third)]
    expected = np.average([0.4, 0.4, 0.2], weights=sizes)
    assert before["mean of ct and pet"]["mass_kept"] == pytest.approx(expected, abs=1e-5)
    assert "| pet (n=2) |" in (study / "run" / "evaluation" / "relearning" / "report.md").read_text()


def test_labels_come_from_the_runs_own_data_only(study):
    with pytest.raises(UserError, match="are not those that the run was trained on"):
        commandline.call("semicml_tf.diagnose", [str(study / "run"), "labels", f"--dataset={study / 'truth'}"])


def test_labels_of_classes_are_measured_class_by_class_without_ignored_voxels():
    target = LabelDefinition({"wt": (1, 2), "tc": (2,)}, ignore_value=255)
    found = relearning.find(history(), SETTINGS | {"label_fusion": "odds"}, ("ct", "pet"), "run")
    truth = np.array([[[3, 1, 0, target.ignored_code]]], np.uint8)
    maps = {"ct": np.full((2, 1, 1, 4), 0.2, np.float32), "pet": np.full((2, 1, 1, 4), 0.8, np.float32)}
    maps["pet"][1, ..., 1:] = 0.1
    cuts = {name: {"wt": 0.2, "tc": 0.3} for name in maps}
    segmenters = {name: lambda record, name=name: maps[name] for name in maps}
    record = types.SimpleNamespace(labels=target, label=truth)
    labels = teachers.labels(teachers.Writers("before", segmenters, cuts), found, record)
    # ct is at wt's threshold: it says nothing. pet's log-odds less those of .2 are log 16.
    assert labels[found.label_name].shape == (2, 1, 1, 4)
    assert labels[found.label_name][0] == pytest.approx(16 / 17, abs=1e-3)
    rows = teachers.measure([teachers.Writers("before", segmenters, cuts)], found, [record])
    by_label = {row["label"]: row for row in rows}
    assert list(by_label)[-1] == f"{found.label_name}, tc" and len(rows) == 6
    assert by_label["pet, wt"]["ppv"] == pytest.approx(2 / 3) and by_label["pet, tc"]["ppv"] == 1.0
    assert sum(one["count"] for one in by_label["pet, tc"]["reliability"]) == 3


def test_gaps_have_the_thresholds_of_each_region():
    labels = LabelDefinition({"wt": (1, 2), "tc": (2,)})
    rows = [
        {**row, **{f"threshold_{name}_{one}": "0.4" for name in ("ct", "pet") for one in ("wt", "tc")}}
        for row in history()
    ]
    found = relearning.find(rows, SETTINGS, ("ct", "pet"), "run")
    best = {name: {"dice": 0.5, "threshold": {"wt": 0.1, "tc": 0.2}} for name in ("ct", "pet")}
    gaps = relearning.gaps(found, ("ct", "pet"), best, None, labels)
    assert gaps[0]["threshold"]["ct"] == {"wt": 0.4, "tc": 0.4} and gaps[-1]["threshold"]["pet"] == {
        "wt": 0.1,
        "tc": 0.2,
    }
    organs = LabelDefinition({"liver": (1,), "kidney": (2,)}, "softmax")
    best = {name: {"dice": 0.5} for name in ("ct", "pet")}
    assert all(
        row["threshold"] == {"ct": {}, "pet": {}} for row in relearning.gaps(found, ("ct", "pet"), best, None, organs)
    )
