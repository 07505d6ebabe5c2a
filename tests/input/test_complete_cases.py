"""Cases that lack a modality: used or dropped in the streams, counted in the run."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import NONE
from semicml_tf.input.complete_cases import whole_cases
from semicml_tf.input.semi_supervised_batches import BatchSettings, additional_windows, batches
from semicml_tf.input.stream import StreamSettings
from tests.support.evaluation_data import ball, oblique_grid, patient, without, write_dataset
from tests.support.file_names import any_letters
from tests.support.tensorboard_files import logged

# A formula, markup, control characters and a broken formula of TeX.
ODD = {"l0": "=l0|<script>", "v0": "=v0|<b>](x) \x1b[2J\n\u202e$\\frac{$", "u0": "-u0\r\x07"}

TINY = [
    "--method=semi_cml",
    "--width=1",
    "--window=16",
    "--epochs=1",
    "--steps_per_epoch=1",
    "--labelled_batch=2",
    "--unlabelled_batch=2",
    "--burn_in=0",
    "--devices=cpu:0",
]


def _records():
    native = oblique_grid()
    made = {
        name: patient(ODD.get(name, name), ball(native, (12 + number % 7, 13, 7), 6.5), native)
        for number, name in enumerate(("l0", "l1", "v0", "u0", "u1", "u2", "u3", "l2", "v1"))
    }
    for name in ("u0", "u1", "u2", "u3"):
        made[name] = dataclasses.replace(made[name], label=None, native_label=None)
    return made


def _dataset(folder, *, half=("u1", "u3"), lacks="pet"):
    made = _records()
    for name in half:
        made[name] = without(made[name], lacks)
    # The last two are used in some tests only.
    names = {"labelled": ["l0", "l1", "l2"], "validation": ["v0", "v1"], "unlabelled": ["u0", "u1", "u2", "u3"]}
    further = {"l2", "v1"} - set(half)
    return write_dataset(
        folder,
        {partition: [made[name] for name in of if name not in further] for partition, of in names.items()},
    )


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return _dataset(tmp_path_factory.mktemp("whole") / "data")


def test_whole_cases_have_every_modality(info):
    whole = whole_cases(info, ("labelled", "unlabelled"))
    assert [case.case_id for case in whole] == [ODD["l0"], "l1", ODD["u0"], "u2"]
    assert len(whole_cases(info, ("labelled", "unlabelled"), ("ct",))) == 6
    assert whole_cases(info, ()) == []


def _stream_batches(info, incomplete_cases, count=8, first_step=0, window=32, **more):
    stream = StreamSettings(info.modalities, Patch(window), 0, True, 0.67, NONE, seed=3)
    data = BatchSettings(("labelled",), ("unlabelled",), 2, 16, stream, incomplete_cases=incomplete_cases, **more)
    return list(batches(info, data, first_step).take(count))


def test_dropped_cases_are_in_no_stream(info):
    seen = set()
    for batch in _stream_batches(info, "drop"):
        assert set(batch["unlabelled"]) == {"image", "patient", "seed"}
        seen |= set(batch["unlabelled"]["patient"].numpy().tolist())
    assert seen == {0, 1}  # u0 and u2


@pytest.mark.parametrize("window", [32, (8, 32, 32)], ids=["slices", "patches"])
def test_an_absent_image_is_replaced_by_one_of_another_case_and_marked(info, window):
    absent = set()
    for batch in _stream_batches(info, "use", window=window):
        assert "present" not in batch["labelled"]  # Its cases are complete.
        part = batch["unlabelled"]
        present = {name: values.numpy() for name, values in part["present"].items()}
        assert set(present) == {"ct", "pet"} and present["ct"].min() == 1.0
        # Cases 1 and 3, u1 and u3, lack PET.
        np.testing.assert_array_equal(present["pet"], part["patient"].numpy() % 2 == 0)
        absent |= set(np.flatnonzero(present["pet"] == 0))
        # Each is an image, and none is blank.
        assert part["image"]["pet"].numpy().reshape(16, -1).max(axis=1).min() == 1.0
    assert absent


def test_a_resumed_stream_replaces_the_same_images(info):
    later, resumed = _stream_batches(info, "use", count=6)[5], _stream_batches(info, "use", count=1, first_step=5)[0]
    tf.nest.map_structure(np.testing.assert_array_equal, resumed, later)


def test_incomplete_cases_are_added_to_the_windows_of_complete_cases(info):
    used, dropped = _stream_batches(info, "use", count=3, incomplete=4), _stream_batches(info, "drop", count=3)
    for with_them, plain in zip(used, dropped, strict=True):
        with_them, plain = with_them["unlabelled"], plain["unlabelled"]
        complete = tf.nest.map_structure(lambda values: values[:16], with_them)
        assert all(values.numpy().min() == 1.0 for values in complete.pop("present").values())
        # Of the numbers 0 to 3 of all cases, the complete ones have 0 and 2; alone, they have 0 and 1.
        np.testing.assert_array_equal(complete.pop("patient"), 2 * plain.pop("patient"))
        tf.nest.map_structure(np.testing.assert_array_equal, complete, plain)
        assert with_them["patient"].shape == (20,) and set(with_them["patient"].numpy()[16:].tolist()) <= {1, 3}
        assert with_them["present"]["ct"].numpy().min() == 1.0 and with_them["present"]["pet"].numpy()[16:].max() == 0.0


def test_a_stream_with_added_windows_resumes(info):
    later = _stream_batches(info, "use", count=6, incomplete=4)[5]
    resumed = _stream_batches(info, "use", count=1, first_step=5, incomplete=4)[0]
    tf.nest.map_structure(np.testing.assert_array_equal, resumed, later)


@pytest.mark.parametrize(
    ("unlabelled", "workers", "how", "windows"),
    [(16, 1, "use", 4), (8, 3, "use", 3), (16, 1, "drop", 0), (0, 1, "use", 0)],
)
def test_number_of_added_windows(info, unlabelled, workers, how, windows):
    # 2 cases are complete and 2 are not: their ratio is above a quarter.
    assert additional_windows(info, ("unlabelled",), unlabelled, workers, how) == windows


def test_no_window_is_added_where_most_cases_are_incomplete(info):
    few = dataclasses.replace(info, partitions={"unlabelled": info.cases("unlabelled")[1:]})  # 1 of 3 is complete.
    assert additional_windows(few, ("unlabelled",), 16, 1, "use") == 0


def test_complete_cases_give_the_same_batches_either_way(tmp_path):
    info = _dataset(tmp_path / "data", half=())
    used, dropped = (_stream_batches(info, how, count=2) for how in ("use", "drop"))
    tf.nest.map_structure(np.testing.assert_array_equal, used, dropped)


def test_nobody_with_every_modality_is_one_clear_line(tmp_path):
    info = _dataset(tmp_path / "data", half=("u0", "u1", "u2", "u3"))
    with pytest.raises(UserError, match="a case with ct and pet in unlabelled, but all 4 lack one .*u1, u2, u3"):
        whole_cases(info, ("unlabelled",))
    # The labelled ones may feed that stream alone.
    assert len(whole_cases(info, ("labelled", "unlabelled"))) == 2


def _train(info, run, *flags):
    commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={run}", *TINY, *flags])
    return json.loads((run / "run.json").read_text())


@any_letters
def test_training_drops_incomplete_cases_if_asked_and_takes_any_name(quick_runs, info, tmp_path, capsys):
    run = tmp_path / "run"
    body = _train(info, run, "--incomplete_cases=drop")
    line = "skipped 2 of 6 unlabelled cases: a modality is missing"
    out = capsys.readouterr().out
    assert out.splitlines().count(line) == 1 and out.replace("\n", "").isprintable()
    assert body["unlabelled_left_out"] == 2 and np.isfinite(body["best"]["pet"]["dice"])
    assert body["data"]["validated_on"] == [ODD["v0"]] and ODD["l0"] in body["data"]["trained_on"]
    # The picture, whose captions are the names, is in TensorBoard and beside.
    assert (1, "validation") in logged(run) and (run / "pictures" / "epoch-000.png").exists()
    (row,) = csv.DictReader((run / "history.csv").read_text().splitlines())
    assert row["stage"] == "semi_cml" and not any("0|<" in str(value) for value in row.values())
    # The run of an earlier version, which recorded no such flag, dropped them, too. Its `standard` is now `light`.
    del body["settings"]["incomplete_cases"]
    body["settings"]["augmentation"] = "standard"
    (run / "run.json").write_text(json.dumps(body))
    with pytest.raises(UserError, match="--incomplete_cases=drop, now use"):
        _train(info, run, "--resume")
    _train(info, run, "--resume", "--incomplete_cases=drop", "--augmentation=standard")


def test_training_uses_the_images_of_each_case(quick_runs, tmp_path, capsys):
    info = _dataset(tmp_path / "data", half=("u1", "l2", "v1"))
    body = _train(info, tmp_path / "run", "--labelled_batch=8", "--unlabelled_batch=8", "--augmentation=strong")
    assert capsys.readouterr().out.splitlines()[:3] == [
        "labelled patients: 3; 3 with ct, 2 with pet, 2 with all modalities",
        "unlabelled patients: 7; 7 with ct, 5 with pet, 5 with all modalities",
        "validation patients: 2; 2 with ct, 1 with pet, 1 with all modalities",
    ]
    assert body["unlabelled_left_out"] == 0
    (row,) = csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines())
    assert (row["patients_ct"], row["patients_pet"]) == ("2", "1")
    assert np.isfinite(float(row["loss"])) and (tmp_path / "run" / "pictures" / "epoch-000.png").exists()


def test_a_method_without_unlabelled_cases_leaves_nobody_out(tmp_path, capsys, monkeypatch):
    info = _dataset(tmp_path / "data", half=("u0", "u1", "u2", "u3"))
    told = {}

    class Stopped(Exception):
        pass

    def trainer(*_, left_out, **__):
        told["left_out"] = left_out
        raise Stopped

    monkeypatch.setattr("semicml_tf.training.trainer.Trainer", trainer)
    with pytest.raises(Stopped):
        how = ["--method=supervised", "--unlabelled_batch=0"]
        commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={tmp_path / 'run'}", *TINY, *how])
    assert told == {"left_out": 0} and "left out" not in capsys.readouterr().out


def test_a_record_keeps_what_it_has(info):
    from semicml_tf.records.shards import read_cases

    records = {record.case_id: record for record in read_cases(info, info.cases("unlabelled"))}
    assert set(records["u1"].images) == {"ct"} and set(records[ODD["u0"]].images) == {"ct", "pet"}
    assert tf.reduce_max(records["u1"].images["ct"]) == 1.0
