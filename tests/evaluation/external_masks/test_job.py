"""Masks of another tool scored from the command line, and beside runs."""

import json
import shutil

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import comparison, job, report
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.metrics.case_score import score
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import LabelDefinition
from semicml_tf.reporting import page, run_facts
from tests.evaluation.external_masks.test_reader import nifti
from tests.files.test_nrrd import write as write_nrrd
from tests.support.evaluation_data import ball, boxes, oblique_grid, patient, without, write_dataset, write_run

GRID = oblique_grid((24, 24, 12))
SPOTS = {"t0": (15, 13, 7), "t1": (9, 13, 5), "t2": (14, 16, 4), "t3": (17, 12, 6)}
COMMAND = "semicml_tf.evaluate"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset with four test patients; the last one has no lesion and no PET."""
    folder = tmp_path_factory.mktemp("external")
    train = [patient(name, ball(GRID, spot, 6.5), GRID) for name, spot in (("l0", (14, 12, 7)), ("l1", (10, 10, 5)))]
    test = [patient(name, ball(GRID, spot, 6.5), GRID) for name, spot in SPOTS.items()]
    empty = without(patient("t4", np.zeros(GRID.shape, np.uint8), GRID), "pet")
    return write_dataset(folder / "data", {"labelled": train, "test": [*test, empty]})


def masks_of(folder, change=lambda mask: mask, radius=6.5, cases=tuple(SPOTS), empty=True):
    """A folder of masks: the truth, changed."""
    folder.mkdir()
    for name in cases:
        nifti(folder / f"{name}.nii.gz", np.ascontiguousarray(change(ball(GRID, SPOTS[name], radius))), GRID)
    if empty:
        nifti(folder / "t4.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    return folder


def evaluated(masks, data, **options):
    return job.evaluate(EvaluateConfig(masks=masks, dataset=data.root, **options))


def dice(result):
    (row, *_) = report.methods(result.metrics)
    return {case["case_id"]: case["dice"] for case in row["cases"]}


def test_the_command_scores_a_folder_and_writes_beside_it(tmp_path, data, capsys):
    masks = masks_of(tmp_path / "pred", radius=5.0)
    (masks / "plans.json").write_text("{}")
    before = sorted(masks.iterdir())
    commandline.call(COMMAND, [f"--masks={masks}", f"--dataset={data.root}", "--partition=test", "--name=nnU-Net"])
    output = tmp_path / "pred-evaluation" / "test"
    assert sorted(masks.iterdir()) == before
    names = ["metrics.csv", "metrics.json", "overlays.png", "table.md", "table.txt"]
    assert sorted(path.name for path in output.iterdir()) == names
    body = report.load(output / "metrics.json")
    assert [row["name"] for row in body["rows"]][:2] == ["nnU-Net", "blind ellipsoid"] and len(body["rows"]) == 3
    (row,) = report.methods(body)
    expected = score("t0", ball(GRID, SPOTS["t0"], 5.0), ball(GRID, SPOTS["t0"], 6.5), GRID)
    assert row["cases"][0]["dice"] == expected.dice
    assert row["cases"][0]["hd95_mm"] == pytest.approx(expected.hd95_mm, abs=1e-4)
    assert row["cases"][4]["outcome"] == "both empty"
    assert body["dataset"]["data_hash"] == data.data_hash and body["partition"] == "test"
    assert "--name=nnU-Net" in body["command"] and len(body["masks"]["files"]["t0"][""]) == 64
    printed = capsys.readouterr()
    assert "Masks of 'nnU-Net' of no single modality (5 files)" in printed.out and "warning" not in printed.err


def test_a_missing_case_counts_as_missed_and_is_named(tmp_path, data):
    masks = masks_of(tmp_path / "pred", cases=("t0", "t2", "t3"), empty=False)
    nifti(masks / "l0.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    result = evaluated(masks, data, output=tmp_path / "out")
    # Also where an empty mask would have been right.
    assert dice(result) == {"t0": 1.0, "t1": 0.0, "t2": 1.0, "t3": 1.0, "t4": 0.0}
    (row, *_) = report.methods(result.metrics)
    assert row["failures"]["missed"] == ["t1", "t4"] and row["summary"]["missed"] == 2
    assert [case["hd95_mm"] for case in row["cases"]][1::3] == pytest.approx([GRID.diagonal_mm] * 2, abs=1e-4)
    assert row["cases"][4]["truth_ml"] == 0 and row["cases"][4]["lesions_missed"] == 0
    assert result.warnings == ("warning: Without a mask, counted as missed: t1, t4.",)
    assert "Not scored, because no case of this partition has the name: l0." in result.metrics["notes"]
    assert result.metrics["masks"]["missing"] == ["t1", "t4"]


CHANGES = {
    "flipped": (lambda mask: mask[::-1], "flipped along axis 0"),
    "transposed": (lambda mask: mask.transpose(1, 0, 2)[:, ::-1], "order 1, 0, 2"),
    "shifted": (lambda mask: np.roll(mask, (4, -5), (0, 1)), "shifted by (-4, 5, 0) voxels"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_misplaced_masks_give_a_warning_that_names_the_cause(tmp_path, data, name):
    change, words = CHANGES[name]
    result = evaluated(masks_of(tmp_path / "pred", change), data)
    (warning,) = result.warnings
    assert words in warning and warning.removeprefix("warning: ") in result.metrics["notes"]


def test_a_mask_on_another_grid_leaves_no_output(tmp_path, data):
    masks = masks_of(tmp_path / "pred", cases=("t0",))
    affine = GRID.affine.copy()
    affine[:3, 3] += 5
    nifti(masks / "t1.nii.gz", ball(GRID, SPOTS["t1"], 6.5), Grid(GRID.shape, affine))
    with pytest.raises(UserError, match="t1.nii.gz: expected the patient's grid, 24 x 24 x 12.*origin is shifted"):
        evaluated(masks, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pred"]


def test_masks_of_one_modality_are_scored_on_the_patients_who_have_it(tmp_path, data):
    masks = masks_of(tmp_path / "pred")
    result = evaluated(masks, data, mask_modality="pet")
    assert sorted(dice(result)) == sorted(SPOTS) and result.metrics["lacking"] == {"pet": ["t4"]}
    with pytest.raises(UserError, match="expected --mask_modality among ct, pet, got 'mr'"):
        evaluated(masks, data, mask_modality="mr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected --run, which is missing"),
        ({"run": "r", "masks": "m", "dataset": "d"}, "expected --run or --masks, got both"),
        ({"masks": "m"}, "expected --dataset with --masks"),
        ({"run": "r", "mask_values": ("1",)}, "--mask_values is an option of --masks"),
        ({"masks": "m", "dataset": "d", "choose_postprocessing": True}, "--choose_postprocessing is an option of runs"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(UserError, match=message):
        EvaluateConfig(**options)


def test_a_dataset_without_labelled_patients_has_no_baselines(tmp_path):
    test = [patient(name, ball(GRID, spot, 6.5), GRID) for name, spot in SPOTS.items()]
    alone = write_dataset(tmp_path / "data", {"test": test})
    result = evaluated(masks_of(tmp_path / "pred"), alone)
    assert len(result.metrics["rows"]) == 1 and "No no-network baselines" in result.metrics["notes"][-1]
    assert result.scores["pred"]["dice"] == 1.0 and result.problem is None


def test_a_required_margin_counts_for_masks(tmp_path, data):
    result = evaluated(masks_of(tmp_path / "pred", cases=("t0",)), data, name="bad", require_margin=0.9)
    assert "bad scores DSC" in result.problem.line


def test_classes_and_ignored_voxels(tmp_path):
    labels = LabelDefinition({"wt": (1, 2), "et": (2,)}, ignore_value=9)
    box, inner, unknown = np.s_[1:5, 4:20, 4:20], np.s_[2:4, 6:12, 6:12], np.s_[:, :, 16:]
    record = boxes("t0", labels, {"wt": box, "et": inner}, ignored=unknown)
    data = write_dataset(tmp_path / "data", {"labelled": [record], "test": [record]}, labels=labels)
    values = np.zeros(record.native_grid.shape, np.uint8)
    values[box], values[inner] = 1, 2
    values[np.s_[:, :, 24:]] = 1  # where nobody annotated
    (tmp_path / "pred").mkdir()
    nifti(tmp_path / "pred" / "t0.nii.gz", values, record.native_grid)
    body = evaluated(tmp_path / "pred", data).metrics
    assert [row["summary"]["dice"]["mean"] for row in body["rows"][:3]] == [1.0, 1.0, 1.0]
    assert [row["target"] for row in body["rows"][:3]] == [None, "wt", "et"] and body["report_version"] == 3


@pytest.fixture(scope="module")
def scored_run(data):
    folder = data.root.parent / "run"
    write_run(folder, data)
    job.evaluate(EvaluateConfig(run=folder))
    return folder


def test_compare_tests_masks_against_the_networks(tmp_path, data, scored_run, capsys):
    masks = masks_of(tmp_path / "pred")
    both = evaluated(masks, data, name="both").metrics_file
    pet = evaluated(masks, data, name="only", mask_modality="pet", output=tmp_path / "pet").metrics_file
    commandline.call("semicml_tf.compare", [str(scored_run), str(both), str(pet), f"--output={tmp_path / 'out'}"])
    text = capsys.readouterr().out
    assert "| both | any |" in text and "| only | pet (n=4) |" in text
    body = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [(one["modality"], one["first"], one["second"]) for one in body["tests"]] == [
        ("ct", "run", "both"),
        ("pet", "run", "both"),
        ("pet", "run", "only"),
        ("pet", "both", "only"),
    ]
    assert body["tests"][3]["difference"] == 0 and body["tests"][0]["difference"] < 0
    with pytest.raises(UserError, match="the data hashes differ"):
        other = report.load(pet)
        other["dataset"]["data_hash"] = "0" * 64
        (tmp_path / "other.json").write_text(json.dumps(other))
        comparison.build([pet, tmp_path / "other.json"], ["a", "b"])


def test_the_report_shows_masks_beside_a_run(tmp_path, data, scored_run):
    file = evaluated(masks_of(tmp_path / "pred"), data, name="nnU-Net").metrics_file
    runs = run_facts.load_all([scored_run], "test", [file])
    text = page.build(runs, command="x").decode()
    assert "nnU-Net, any" in text and "masks of another tool" in text and "Not compared" not in text
    with pytest.raises(UserError, match="expected the scores of masks, got those of a run"):
        run_facts.load_all([scored_run], "test", [scored_run / "evaluation/test/metrics.json"])
    with pytest.raises(UserError, match="expected scores of partition 'validation', got 'test'"):
        run_facts.load_external(file, "validation", "run1")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("masks"),
        lambda body: body.update(run={"run_hash": "0"}),
        lambda body: body["masks"].update(modality="ct"),
        lambda body: body["rows"][0].update(kind="network"),
        lambda body: body["masks"].pop("files"),
    ],
)
def test_metrics_that_contradict_themselves_are_refused(tmp_path, data, change):
    file = evaluated(masks_of(tmp_path / "pred"), data).metrics_file
    body = json.loads(file.read_text())
    change(body)
    file.write_text(json.dumps(body))
    with pytest.raises(UserError, match="metrics.json"):
        report.load(file)


def test_nrrd_masks_score_as_nifti_masks(tmp_path, data):
    masks = masks_of(tmp_path / "pred", radius=5.0)
    first = dice(evaluated(masks, data))
    shutil.rmtree(masks)
    masks.mkdir()
    for name in SPOTS:
        write_nrrd(masks / f"{name}.nrrd", ball(GRID, SPOTS[name], 5.0), GRID)
    write_nrrd(masks / "t4.nrrd", np.zeros(GRID.shape, np.uint8), GRID)
    assert dice(evaluated(masks, data)) == first
