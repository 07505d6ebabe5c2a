"""The images that an evaluation keeps: their values, their number, and their removal after a failure."""

import json
import types

import nibabel
import numpy as np
import pytest

from semicml_tf.evaluation import case_images
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.labels import LESION
from semicml_tf.preprocessing.normalisation import Constants
from tests.support import report_runs
from tests.support.report_runs import CUTS, MODALITIES

HOSTILE = "../<b>ill/patient"


def _kept(output, dice, kind="shown"):
    with case_images.CaseImages(output, MODALITIES, CUTS, kind, 3) as kept:
        for seed, (name, value) in enumerate(dice.items()):
            one = report_runs.record(name, seed)
            kept.add(one, report_runs.answers(one, seed, dict.fromkeys(MODALITIES, value)))
        output.mkdir(exist_ok=True)
        kept.move_to(output)
    return json.loads((output / "cases" / "index.json").read_text())


def test_volumes_are_read_back_on_their_grid_in_native_units(tmp_path):
    index = _kept(tmp_path / "out", {HOSTILE: 0.5})
    (entry,) = index["cases"]
    assert entry["case_id"] == HOSTILE and entry["folder"] == "0000"
    one = report_runs.record(HOSTILE, 0)
    answers = report_runs.answers(one, 0, dict.fromkeys(MODALITIES, 0.5))
    folder = tmp_path / "out" / "cases" / "0000"
    slices = {path.name for path in folder.glob("*.npz")}
    assert "slice.npz" in slices and set(entry["volumes"]) | slices == {path.name for path in folder.iterdir()}
    wanted = {"truth": (one.label, 1e-9)}
    for number, name in enumerate(MODALITIES):
        window = one.constants[name]
        native = one.images[name].astype(float) * window.scale + window.center
        wanted[f"image-{number}"] = native, (window.high - window.low) / 255
        wanted[f"mask-{number}"] = answers[name].masks[0], 1e-9
        wanted[f"probability-{number}"] = answers[name].probabilities[0], 1 / 255
    for name, (array, step) in wanted.items():
        path = folder / f"{name}.nii.gz"
        assert nibabel.load(path).get_data_dtype() == np.uint8
        values, grid = report_runs.grid_of(path)
        # The file's axes are columns, rows, slices: the same voxels at the same places.
        assert np.abs(values.transpose(2, 1, 0) - array).max() <= step * 0.501
        corner = np.array([array.shape[2] - 1, array.shape[1] - 1, array.shape[0] - 1, 1])
        assert grid.affine @ corner == pytest.approx(one.grid.affine @ corner[[2, 1, 0, 3]], abs=1e-3)
        header = nibabel.load(path).header
        assert header["sform_code"] == header["qform_code"] == 1
        assert header.get_qform() == pytest.approx(grid.affine, abs=1e-3)


def test_the_stored_slice_has_the_most_truth(tmp_path):
    index = _kept(tmp_path / "out", {"a": 0.5})
    one = report_runs.record("a", 0)
    place = index["cases"][0]["slice_index"]
    assert one.label[place].sum() == one.label.sum(axis=(1, 2)).max() > 0
    with np.load(tmp_path / "out" / "cases" / "0000" / "slice.npz") as stored:
        assert np.array_equal(stored["truth"], one.label[place])
        assert stored["image-1"].shape == one.grid.shape[1:] and stored["image-1"].dtype == np.uint8


def test_the_slice_with_the_most_errors_is_kept_if_it_is_another_slice(tmp_path):
    one = report_runs.record("a", 0)
    place = int(one.label.sum(axis=(1, 2)).argmax())
    other = 0 if place else 1
    assert not one.label[other].any()

    def kept(name, masks):
        answers = {
            key: Answer(
                mask[np.newaxis].astype(np.float32), mask[np.newaxis], {LESION: types.SimpleNamespace(dice=0.5)}
            )
            for key, mask in masks.items()
        }
        with case_images.CaseImages(tmp_path / name, MODALITIES, CUTS, "shown", 3) as images:
            images.add(one, answers)
            (tmp_path / name).mkdir()
            images.move_to(tmp_path / name)
        folder = tmp_path / name / "cases" / "0000"
        return json.loads((tmp_path / name / "cases" / "index.json").read_text())["cases"][0], folder

    truth = one.label != 0
    entry, folder = kept("right", {"ct": truth, "pet": truth})
    assert entry["error_slice_index"] is None and not (folder / "errors.npz").exists()
    far = truth.copy()
    far[other, :3, :3] = True
    entry, folder = kept("far", {"ct": truth, "pet": far})
    assert entry["slice_index"] == place and entry["error_slice_index"] == other
    with np.load(folder / "errors.npz") as stored:
        assert np.array_equal(stored["mask-1"], far[other]) and not stored["truth"].any()


def test_volumes_are_kept_of_the_worst_and_the_best(tmp_path):
    values = np.random.default_rng(0).permutation(22) / 22
    index = _kept(tmp_path / "out", {f"p{number}": float(value) for number, value in enumerate(values)})
    scores = [entry["mean_dice"] for entry in index["cases"]]
    assert scores == sorted(scores) and len(scores) == 22
    with_volumes = [bool(entry["volumes"]) for entry in index["cases"]]
    assert with_volumes == [True] * 10 + [False] * 7 + [True] * 5
    for entry in index["cases"]:
        files = {path.name for path in (tmp_path / "out" / "cases" / entry["folder"]).iterdir()}
        assert files - {"errors.npz"} == {"slice.npz", *(entry["volumes"] or ())}


@pytest.mark.parametrize(("kind", "images", "volumes"), [("all", 18, 18), ("none", 0, 0)])
def test_other_settings_keep_all_volumes_or_none_and_always_calibration(tmp_path, kind, images, volumes):
    index = _kept(tmp_path / "out", {f"p{number}": number / 20 for number in range(18)}, kind)
    assert len(index["cases"]) == images
    assert sum(bool(entry["volumes"]) for entry in index["cases"]) == volumes
    calibration = index["calibration"]["pet"]
    assert calibration["patients"] == 18
    one = report_runs.record("p0", 0)
    assert sum(bin_["count"] for bin_ in calibration["reliability"]) == 18 * one.label.size
    assert index["labelled_patients"] == 3


def test_a_failed_evaluation_leaves_no_files(tmp_path):
    with pytest.raises(RuntimeError):
        with case_images.CaseImages(tmp_path / "out", MODALITIES, CUTS, "shown", 3) as kept:
            one = report_runs.record("a", 0)
            kept.add(one, report_runs.answers(one, 0, {"ct": 0.1, "pet": 0.2}))
            assert any(tmp_path.iterdir())
            raise RuntimeError
    assert not any(tmp_path.iterdir())


def test_values_outside_their_window_stop_at_its_ends_and_an_empty_window_is_black():
    values = np.array([-9.0, -1.0, 0.0, 1.0, 9.0])
    assert case_images.to_bytes(values, -1, 1).tolist() == [0, 0, 128, 255, 255]
    assert not case_images.to_bytes(values, 3, 3).any()


def test_a_volume_without_contrast_can_be_written(tmp_path):
    one = report_runs.record("a", 0)
    flat = Constants(0.0, 0.0, 0.0, 1.0)
    case_images.write_volume(tmp_path / "x.nii.gz", np.zeros(one.grid.shape, np.uint8), one.grid, flat.low, flat.high)
    assert not report_runs.grid_of(tmp_path / "x.nii.gz")[0].any()
