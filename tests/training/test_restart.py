"""Runs that are killed, stopped or without disk space, and their resume."""

import csv
import dataclasses
import importlib
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.runs.run_folder import Run
from semicml_tf.training import trainer as trainers
from tests.support import method_batches
from tests.support.interruptions import at_step, pressed_ctrl_c, told_to_end
from tests.support.tensorboard_files import logged

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = [
    "--width=2",
    "--window=32",
    "--steps_per_epoch=3",
    "--labelled_batch=4",
    "--unlabelled_batch=4",
    "--burn_in=0",
    "--devices=cpu:0",
]
ONE_STAGE = ["--method=supervised", "--epochs=2"]
PATIENCE_S = 240


def _words(dataset, output, *arguments):
    return [f"--dataset={dataset}", f"--output={output}", *TINY, *arguments]


def _train(*words):
    commandline.call("semicml_tf.train", _words(*words))


def _started(*words, module="tests.support.quick_runs"):
    command = [sys.executable, "-m", module, *_words(*words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _assert_same(folder, other):
    """Weights, averages, optimisers, best networks and history are equal, bit for bit."""
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == sorted(path.name for path in (other / "checkpoints").iterdir())
    for name in names:
        with np.load(folder / "checkpoints" / name) as one, np.load(other / "checkpoints" / name) as two:
            assert one.files == two.files
            for key in set(one.files) - {"meta"}:
                np.testing.assert_array_equal(one[key], two[key], err_msg=f"{name} {key}")
    assert _rows(folder) == _rows(other)
    assert logged(folder) == logged(other)
    pictures = [sorted(path.name for path in (each / "pictures").iterdir()) for each in (folder, other)]
    assert pictures[0] == pictures[1]


def _rows(folder):
    with open(folder / "history.csv") as stream:
        return [{k: v for k, v in row.items() if k != "slices_per_second"} for row in csv.DictReader(stream)]


@method_batches.half_precision
def test_a_resumed_run_in_half_precision_keeps_its_loss_scale(phantom_dataset, tmp_path, monkeypatch):
    how = [*ONE_STAGE, "--precision=float16"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    at_step(2, pressed_ctrl_c, monkeypatch)
    with pytest.raises(trainers.Interrupted, match="stopped by SIGINT after step 2; .*--resume") as caught:
        _train(phantom_dataset, tmp_path / "cut", *how)
    assert caught.value.number == signal.SIGINT
    monkeypatch.undo()
    _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
    assert float(_rows(tmp_path / "cut")[-1]["loss_scale_ct"]) > 1
    _assert_same(tmp_path / "cut", tmp_path / "whole")


def test_a_resumed_run_keeps_the_fitted_fusion_of_its_labels(phantom_dataset, tmp_path, monkeypatch):
    """Stopped amid the first epoch: the labels of its other steps need the fit from before the stage."""
    how = ["--method=prel", "--epochs=2", "--teacher_modality=pet", "--label_fusion=fitted"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    at_step(2, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, tmp_path / "cut", *how)
    monkeypatch.undo()
    _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
    _assert_same(tmp_path / "cut", tmp_path / "whole")
    rows = _rows(tmp_path / "cut")
    fits = [[float(row[name]) for name in ("slope_ct", "slope_pet", "offset")] for row in rows]
    with np.load(tmp_path / "cut" / "checkpoints" / "stage-0-fusion.npz") as stored:
        fits.append([*stored["slopes"][-1, :, 0], *stored["offsets"][-1]])
    assert len({tuple(fit) for fit in fits}) == 3 and all(min(fit[:2]) >= 0 for fit in fits)


def test_a_run_on_patches_resumes_bit_equal(phantom_dataset, tmp_path, monkeypatch):
    """Stopped within the first epoch, so that the stream of patches starts within a group."""
    how = ["--network=unet3d", "--window=4,8,8", "--method=mean_teacher", "--epochs=1"]
    how += ["--labelled_batch=2", "--unlabelled_batch=2"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    run = Run.load(tmp_path / "whole")
    assert run.patch.spatial == (4, 8, 8) and run.network("ct").input_shape == (None, 4, 8, 8, 1)
    at_step(2, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, tmp_path / "cut", *how)
    monkeypatch.undo()
    _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
    _assert_same(tmp_path / "cut", tmp_path / "whole")


def test_a_full_disk_keeps_the_last_checkpoint(phantom_dataset, tmp_path, monkeypatch):
    """A limit on the size of files stands for it: the system refuses the write in the same place."""
    folder = tmp_path / "run"
    _train(phantom_dataset, tmp_path / "whole", *ONE_STAGE)
    at_step(4, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, folder, *ONE_STAGE)
    monkeypatch.undo()
    before = (folder / "checkpoints" / "last.npz").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write here.*free space"):
            _train(phantom_dataset, folder, *ONE_STAGE, "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (folder / "checkpoints" / "last.npz").read_bytes() == before
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    _train(phantom_dataset, folder, *ONE_STAGE, "--resume")
    _assert_same(folder, tmp_path / "whole")


def test_an_interrupted_run_leaves_a_folder_only_after_its_first_checkpoint(phantom_dataset, tmp_path, monkeypatch):
    def break_off():
        raise KeyboardInterrupt

    def broken_off_at(step):
        with monkeypatch.context() as patched:
            at_step(step, break_off, patched)
            with pytest.raises(KeyboardInterrupt):
                _train(phantom_dataset, tmp_path / "run", *ONE_STAGE)

    broken_off_at(2)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    broken_off_at(1)
    assert not list((tmp_path / "run").iterdir())
    broken_off_at(5)
    assert len(_rows(tmp_path / "run")) == 1 and (tmp_path / "run" / "checkpoints" / "last.npz").exists()


def test_a_run_that_is_stopped_during_its_start_leaves_nothing(phantom_dataset, tmp_path):
    process = _started(phantom_dataset, tmp_path / "run", *ONE_STAGE, module="semicml_tf.train")
    maps, deadline = pathlib.Path(f"/proc/{process.pid}/maps"), time.monotonic() + PATIENCE_S
    while "libtensorflow" not in maps.read_text():  # its import has begun
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE_S)
    after = importlib.import_module("semicml_tf.train").AFTER_INTERRUPT
    assert (process.returncode, errors) == (143, f"semicml_tf.train: terminated. {after}\n")
    assert not list(tmp_path.iterdir())


def _better_each_time(monkeypatch):
    """Each validation of a run finds better networks than the one before; returns the list of those found."""
    seen, validated = [], trainers.Validator.__call__

    def better(self, networks, observe=None):
        found = validated(self, networks, observe)
        seen.append(networks)
        return dataclasses.replace(found, dice={name: {"lesion": 0.1 * len(seen)} for name in found.dice})

    monkeypatch.setattr(trainers.Validator, "__call__", better)
    return seen


def _best(folder):
    with np.load(folder / "checkpoints" / "best-ct.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.mark.parametrize(("what", "step"), [("tell", 3), ("_curves", 6)])
def test_without_space_the_best_network_is_the_one_in_run_json(phantom_dataset, tmp_path, monkeypatch, what, step):
    """Before run.json the former one stays; what is written after it is no matter."""
    seen, write = _better_each_time(monkeypatch), getattr(trainers.RunRecord, what)

    def fails_at_the_second(self, rows, *rest):
        if len(rows) == 2:
            raise UserError("no space left")
        write(self, rows, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(trainers.RunRecord, what, fails_at_the_second)
        with pytest.raises(UserError, match="no space left"):
            _train(phantom_dataset, tmp_path / "cut", *ONE_STAGE)
    assert Run.load(tmp_path / "cut").best["ct"]["step"] == step
    cut = _best(tmp_path / "cut")
    seen.clear()
    _train(phantom_dataset, tmp_path / "cut", *ONE_STAGE, "--resume")
    whole = _best(tmp_path / "cut")
    assert all((cut[key] == whole[key]).all() for key in whole) == (step == 6)
    assert Run.load(tmp_path / "cut").best["ct"]["step"] == 6 and len(_rows(tmp_path / "cut")) == 2


def test_a_better_network_replaces_the_best_one_after_its_checkpoint(phantom_dataset, tmp_path, monkeypatch):
    seen, save = _better_each_time(monkeypatch), trainers.checkpoint.save

    def fails(*arguments):
        if len(seen) == 2:
            raise UserError("no space left")
        save(*arguments)

    _train(phantom_dataset, tmp_path / "whole", *ONE_STAGE)
    seen.clear()
    monkeypatch.setattr(trainers.checkpoint, "save", fails)
    with pytest.raises(UserError, match="no space left"):
        _train(phantom_dataset, tmp_path / "cut", *ONE_STAGE)
    # The best network is the one that run.json tells of.
    assert Run.load(tmp_path / "cut").best["ct"]["step"] == 3
    first, last = (_best(tmp_path / folder) for folder in ("cut", "whole"))
    assert any((first[key] != last[key]).any() for key in first)
    # What a kill left is ended by the next command: half a file goes, and so does a network of no checkpoint.
    checkpoints = tmp_path / "cut" / "checkpoints"
    assert (checkpoints / "next-ct-6.npz").exists()
    (checkpoints / ".last.npz.abcd1234.tmp").write_bytes(b"half")
    (checkpoints / "next-pet-5.npz").write_bytes(b"half")
    monkeypatch.setattr(trainers.checkpoint, "save", save)
    seen[1:] = []
    _train(phantom_dataset, tmp_path / "cut", *ONE_STAGE, "--resume")
    _assert_same(tmp_path / "cut", tmp_path / "whole")
    # Killed between the checkpoint and the network's place: the checkpoint knows.
    (checkpoints / "best-ct.npz").rename(checkpoints / "next-ct-6.npz")
    np.savez(checkpoints / "best-ct.npz", **first)
    assert Run.load(tmp_path / "cut").weights_file("ct") == checkpoints / "next-ct-6.npz"
    _train(phantom_dataset, tmp_path / "cut", *ONE_STAGE, "--resume")
    _assert_same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("cut", ["all", "half"])
def test_log_entries_lost_by_a_kill_are_added_once(phantom_dataset, tmp_path, cut):
    """The kill came after the last epoch's checkpoint, before its row was in TensorBoard's file, or amid it."""
    how = [*ONE_STAGE, "--picture_every=1"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (path,) = (tmp_path / "cut" / "tensorboard").iterdir()
    whole = logged(tmp_path / "whole")
    first = sum(step == 3 for step, _ in whole)
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    # The file's head, the first epoch, and what came of the second; then half a record.
    kept = 1 + first + (0 if cut == "all" else 4)
    size = sum(len(record) + 16 for record in records[:kept])
    path.write_bytes(path.read_bytes()[: size + 10])
    (tmp_path / "cut" / "pictures" / "epoch-001.png").unlink()
    assert 0 < len(logged(tmp_path / "cut")) < len(whole)
    for _ in range(2):
        _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
        _assert_same(tmp_path / "cut", tmp_path / "whole")


def test_weights_that_are_not_finite_are_never_saved(phantom_dataset, tmp_path, monkeypatch):
    """An epoch's last update spoils them, so that no loss has shown it yet."""
    folder, save, saved = tmp_path / "run", trainers.checkpoint.save, []
    first = trainers.checkpoint.not_finite

    def spoil(method):
        if saved:
            method.students["pet"].trainable_variables[3].assign(
                np.full(method.students["pet"].trainable_variables[3].shape, np.nan)
            )
        return first(method)

    monkeypatch.setattr(trainers.checkpoint, "save", lambda *a: (saved.append(1), save(*a)))
    monkeypatch.setattr(trainers.checkpoint, "not_finite", spoil)
    with pytest.raises(UserError, match=r"student/pet became NaN.* at step 5 \(cases: labelled \w+.*before") as caught:
        _train(phantom_dataset, folder, *ONE_STAGE)
    assert "student/ct" not in caught.value.line
    monkeypatch.undo()
    assert [row["step"] for row in _rows(folder)] == ["3"]
    _train(phantom_dataset, folder, *ONE_STAGE, "--resume")
    _train(phantom_dataset, tmp_path / "whole", *ONE_STAGE)
    _assert_same(folder, tmp_path / "whole")


@method_batches.half_precision
def test_a_loss_scale_below_one_stops_the_run(phantom_dataset, tmp_path, monkeypatch):
    first = trainers.checkpoint.not_finite

    def shrunk(method):
        method.student_optimizers["pet"].dynamic_scale.assign(0.5)
        return first(method)

    monkeypatch.setattr(trainers.checkpoint, "not_finite", shrunk)
    with pytest.raises(UserError, match=r"loss_scale_pet fell to 0.5 at step 2 .*bfloat16") as caught:
        _train(phantom_dataset, tmp_path / "run", *ONE_STAGE, "--precision=float16")
    assert "loss_scale_ct" not in caught.value.line and not (tmp_path / "run").exists()


def test_too_little_memory_is_reported_in_one_line(phantom_dataset, tmp_path, monkeypatch):
    def exhausted(batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape[9]")

    monkeypatch.setattr(trainers.Stages, "step", lambda *_: exhausted)
    with pytest.raises(UserError, match="more memory than the device has.*--labelled_batch"):
        _train(phantom_dataset, tmp_path / "run", *ONE_STAGE)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_statistics_of_each_replica(phantom_dataset, tmp_path, monkeypatch):
    how = [*ONE_STAGE, "--devices=cpu:0,cpu:1", "--nosynchronized_statistics"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    at_step(5, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, tmp_path / "cut", *how)
    monkeypatch.undo()
    with np.load(tmp_path / "cut" / "checkpoints" / "last.npz") as stored:
        ours, theirs = stored["own_statistics"]
        assert (ours != theirs).any()
    _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
    _assert_same(tmp_path / "cut", tmp_path / "whole")
    rows = trainers.OwnStatistics.rows
    monkeypatch.setattr(trainers.OwnStatistics, "rows", lambda self: rows(self) + np.array([[0.0], [np.inf]]))
    with pytest.raises(UserError, match="a replica's batch statistics became NaN or infinite at step 2"):
        _train(phantom_dataset, tmp_path / "spoilt", *how)


@pytest.mark.slow
def test_a_repeatedly_killed_run_ends_like_an_uninterrupted_run(phantom_dataset, tmp_path):
    """SIGKILL a moment after an epoch's end: in a step, a validation or a write, in both stages."""
    how = ["--epochs=2,2", "--deterministic"]
    _train(phantom_dataset, tmp_path / "whole", *how)
    draw, folder = random.Random(0), tmp_path / "run"
    for epochs in (1, 2, 3):
        process = _started(phantom_dataset, folder, *how, "--resume")
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "history.csv").exists() or len(_rows(folder)) < epochs:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
    _train(phantom_dataset, folder, *how, "--resume")
    _assert_same(folder, tmp_path / "whole")
    assert [row["step"] for row in _rows(folder)] == ["3", "6", "9", "12"]
