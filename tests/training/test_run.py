"""Runs of the training command on a phantom: resume, repetition, folders, refusals."""

import csv
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import semicml_tf
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.methods.base import Method
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run, read_record
from semicml_tf.system import atomic_files, cpu
from semicml_tf.training import job
from semicml_tf.training import trainer as trainers
from semicml_tf.training.checkpoint_manager import Keeper
from tests.support.interruptions import at_step, told_to_end

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = [
    "--width=2",
    "--window=32",
    "--epochs=2,2",
    "--steps_per_epoch=3",
    "--labelled_batch=4",
    "--unlabelled_batch=4",
    "--burn_in=0",
    "--picture_every=2",
    "--devices=cpu:0",
]


def _train(dataset, output, *arguments):
    commandline.call("semicml_tf.train", [f"--dataset={dataset}", f"--output={output}", *TINY, *arguments])


def _arrays(path):
    with np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


def _rows(folder):
    with open(folder / "history.csv") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def result(quick_runs, phantom_dataset, tmp_path_factory):
    """The result of a run of both stages, never interrupted, by the Python API."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    how = [f"--dataset={phantom_dataset}", f"--output={folder}", *TINY]
    return semicml_tf.train(commandline.config("semicml_tf.train", how))


@pytest.fixture(scope="module")
def finished(result):
    """The folder of that run."""
    return result.folder


def test_the_result_of_a_training_equals_its_folder(result):
    run = Run.load(result.folder)
    assert result.epochs_done == 4 and result.best == run.best
    assert result.thresholds == {name: run.threshold(name) for name in run.modalities}
    assert result.dice == {name: run.best[name]["dice"] for name in run.modalities}


def test_the_run_folder_has_the_documented_files(finished, phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    body = json.loads((finished / "run.json").read_text())
    assert body["data_hash"] == info.data_hash and body["settings"]["seed"] == 0
    assert body["versions"]["tensorflow"] and body["step"] == 12
    # Facts about the machine are beside the settings, whose hash they do not change.
    assert body["processor"] == cpu.processor() and "processor" not in body["settings"]
    rows = _rows(finished)
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("semi_cml", "3"),
        ("semi_cml", "6"),
        ("prel", "9"),
        ("prel", "12"),
    ]
    assert all(0 <= float(row[f"dice_{name}"]) <= 1 for row in rows for name in info.modalities)
    assert sorted(p.name for p in (finished / "pictures").iterdir()) == ["epoch-001.png", "epoch-003.png"]
    assert Image.open(finished / "training.png").size[0] > 800
    assert rows[0].get("teacher") == "" and rows[-1]["teacher"] in info.modalities
    run = Run.load(finished)
    best = max(float(row["dice_pet"]) for row in rows)
    assert run.best["pet"]["dice"] == pytest.approx(best)


def test_tensorboard_gets_every_number_of_an_epoch_and_the_pictures(finished):
    tags, pictures = {}, 0
    for path in (finished / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "validation":
                    pictures += 1
                else:
                    tags.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    kinds = ("dice", "gradient_norm", "learning_rate", "threshold")
    for tag in ("loss", "loss/supervised", *(f"{kind}/{name}" for kind in kinds for name in ("ct", "pet"))):
        assert list(tags[tag]) == [3, 6, 9, 12], tag
    # What is particular to a stage, in its epochs alone.
    assert list(tags["loss/asc"]) == [3, 6]
    assert list(tags["loss/teach_ct"]) == list(tags["watched/label_mass"]) == [9, 12]
    assert tags["loss"][12] == pytest.approx(float(_rows(finished)[-1]["loss"]), rel=1e-6)
    assert all(value > 0 for name in ("ct", "pet") for value in tags[f"gradient_norm/{name}"].values())
    assert pictures == 2


def test_the_best_network_can_be_loaded(finished):
    network = Run.load(finished).network("pet")
    stored = _arrays(finished / "checkpoints" / "best-pet.npz")
    assert all((a == stored[f"{i:04d}"]).all() for i, a in enumerate(network.get_weights()))
    with pytest.raises(UserError, match="ct, pet.*'mr'"):
        Run.load(finished).network("mr")


@pytest.mark.parametrize("step", [2, 6, 10])
def test_a_resumed_run_equals_an_uninterrupted_run(finished, phantom_dataset, tmp_path, monkeypatch, step):
    """SIGTERM in the first stage, between the stages and in the second."""
    at_step(step, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted, match="--resume"):
        _train(phantom_dataset, tmp_path / "run")
    monkeypatch.undo()
    _train(phantom_dataset, tmp_path / "run", "--resume")
    names = {path.name for path in (finished / "checkpoints").iterdir()}
    assert names >= {"best-ct.npz", "best-pet.npz", "last.npz", "stage-0-ct.npz", "stage-0-pet.npz"}
    assert names == {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    for name in sorted(names):
        whole, resumed = (_arrays(f / "checkpoints" / name) for f in (finished, tmp_path / "run"))
        assert whole.keys() == resumed.keys()
        for key in whole.keys() - {"meta"}:
            np.testing.assert_array_equal(whole[key], resumed[key], err_msg=f"{name} {key}")
    times = "slices_per_second"
    drop = [{k: v for k, v in row.items() if k != times} for row in _rows(finished)]
    assert drop == [{k: v for k, v in row.items() if k != times} for row in _rows(tmp_path / "run")]


def test_a_killed_run_resumes_after_its_last_epoch(finished, phantom_dataset, tmp_path):
    folder = tmp_path / "run"
    where = [f"--dataset={phantom_dataset}", f"--output={folder}", *TINY]
    command = [sys.executable, "-m", "tests.support.quick_runs", *where]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not ((folder / "history.csv").exists() and len(_rows(folder)) >= 1):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    _train(phantom_dataset, folder, "--resume")
    whole, resumed = (_arrays(f / "checkpoints" / "last.npz") for f in (finished, folder))
    for key in whole.keys() - {"meta"}:
        np.testing.assert_array_equal(whole[key], resumed[key], err_msg=key)
    assert [row["step"] for row in _rows(folder)] == ["3", "6", "9", "12"]


@pytest.mark.slow
def test_the_command_trains_on_two_devices(phantom_dataset, tmp_path):
    # The loss of the first step alone: later ones depend on gradients, in which a pixel may change sides of a kink.
    how = ["--method=semi_cml", "--epochs=1", "--steps_per_epoch=1"]
    losses = []
    for devices in ("cpu:0", "cpu:0,cpu:1"):
        folder = tmp_path / devices.replace(",", "-").replace(":", "")
        _train(phantom_dataset, folder, *how, f"--devices={devices}")
        losses.append(float(_rows(folder)[0]["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_kill_while_the_checkpoint_is_written_keeps_the_last_one(finished, tmp_path):
    path = tmp_path / "last.npz"
    path.write_bytes((finished / "checkpoints" / "last.npz").read_bytes())

    def fail(stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        atomic_files.write_file(path, fail)
    assert path.read_bytes() == (finished / "checkpoints" / "last.npz").read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["last.npz"]


def test_the_stored_flagfile_repeats_the_run(finished, tmp_path):
    again = tmp_path / "again"
    commandline.call("semicml_tf.train", [f"--flagfile={finished / 'flags.flagfile'}", f"--output={again}"])
    assert json.loads((again / "run.json").read_text())["run_hash"] == Run.load(finished).run_hash
    whole, repeated = (_arrays(f / "checkpoints" / "best-ct.npz") for f in (finished, again))
    for key in whole:
        np.testing.assert_array_equal(whole[key], repeated[key])


def test_each_stage_can_run_alone_and_prel_starts_from_a_run(finished, phantom_dataset, tmp_path):
    _train(phantom_dataset, tmp_path / "sup", "--method=supervised", "--epochs=1", "--unlabelled_batch=0")
    _train(phantom_dataset, tmp_path / "prel", "--method=prel", "--epochs=1", f"--init_from={tmp_path / 'sup'}")
    assert _rows(tmp_path / "prel")[0]["stage"] == "prel"
    body = json.loads((tmp_path / "prel" / "run.json").read_text())
    assert body["initial_run"].endswith("sup") and body["data"]["trained_on"] and body["data"]["validated_on"]


def test_a_run_begins_with_the_encoders_of_another_run(finished, phantom_dataset, tmp_path, monkeypatch, capsys):
    short = ["--method=supervised", "--epochs=1", "--unlabelled_batch=0"]
    source = f"--init_encoder_from=pet={finished}:ct"
    _train(phantom_dataset, tmp_path / "dry", *short, source, "--dry_run")
    assert "nothing was written" in capsys.readouterr().out and not (tmp_path / "dry").exists()
    begin, weights = Method.begin, {}

    def recorded(self):
        weights.update({name: network.get_weights() for name, network in self.deployed.items()})
        begin(self)

    monkeypatch.setattr(Method, "begin", recorded)
    at_step(2, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, tmp_path / "run", *short, source)
    (encoder, *_), trained = weights["pet"], Run.load(finished).network("ct").get_weights()
    np.testing.assert_array_equal(encoder, trained[0])
    assert not np.array_equal(weights["ct"][0], trained[0]) and not np.array_equal(weights["pet"][-1], trained[-1])
    monkeypatch.undo()
    _train(phantom_dataset, tmp_path / "run", *short, source, "--resume")
    record = read_record(tmp_path / "run")
    assert record["initial_run"] is None and record["initial_encoders"] == [f"pet={finished}:ct"]
    assert record["initialisation"]["sources"]["pet"]["weights_sha256"] == Run.load(finished).weights_hash("ct")
    assert source in (tmp_path / "run" / "flags.flagfile").read_text()
    how = [f"--dataset={phantom_dataset}", f"--output={tmp_path / 'run'}", *TINY, *short, "--resume"]
    _fails("begun with --init_encoder_from pet=.*:ct, now none", *how)


def test_the_paper_recipe_trains_both_stages_and_resumes_with_its_pool(phantom_dataset, tmp_path, monkeypatch):
    """Cut off within the second stage, once the pool's teachers have left the students behind."""
    how = ["--recipe=paper", "--teacher_modality=pet", "--pool_first_epoch=0", "--pool_copy_epoch=1", "--pool_size=1"]
    how.append("--context_slices=1")
    _train(phantom_dataset, tmp_path / "whole", *how)
    held = json.loads((tmp_path / "whole" / "run.json").read_text())["settings"]
    assert (held["asc_weight"], held["teacher"], held["ema_decay"], held["l2"]) == (3.5, "pool", 0.0, 4e-4)
    assert Run.load(tmp_path / "whole").network("ct").input_shape == (None, 32, 32, 3)
    at_step(8, told_to_end, monkeypatch)
    with pytest.raises(trainers.Interrupted):
        _train(phantom_dataset, tmp_path / "cut", *how)
    monkeypatch.undo()
    with np.load(tmp_path / "cut" / "checkpoints" / "last.npz") as stored:
        pool = json.loads(str(stored["meta"]))["method_state"]["pool"]
        assert pool["copied"] and len(pool["scores"]["pet"]) == 1
        kernels = [stored[f"network/{kind}/pet/0000"] for kind in ("pool", "student")]
        assert (kernels[0] != kernels[1]).any()
    _train(phantom_dataset, tmp_path / "cut", *how, "--resume")
    assert [row["stage"] for row in _rows(tmp_path / "cut")] == ["semi_cml"] * 2 + ["prel"] * 2
    whole, resumed = (_arrays(tmp_path / folder / "checkpoints" / "last.npz") for folder in ("whole", "cut"))
    assert whole.keys() == resumed.keys()
    # The state of the pool is in "meta", whose position holds speeds that no two runs share.
    metas = [json.loads(str(arrays.pop("meta"))) for arrays in (whole, resumed)]
    assert metas[0]["method_state"] == metas[1]["method_state"]
    for key in whole:
        np.testing.assert_array_equal(whole[key], resumed[key], err_msg=key)


def _fails(match, *arguments):
    with pytest.raises(UserError, match=match) as caught:
        commandline.call("semicml_tf.train", list(arguments))
    assert "\n" not in caught.value.line


def test_refusals_name_the_cause_and_keep_the_folder_unchanged(finished, phantom_dataset, tmp_path):
    data, out = f"--dataset={phantom_dataset}", f"--output={tmp_path / 'new'}"
    _fails("expected --dataset", out)
    _fails("not empty.*--resume", data, f"--output={finished}")
    _fails("begun with --seed=0, now 9. Give", data, f"--output={finished}", *TINY, "--resume", "--seed=9")
    _fails("dataset.json.*semicml_tf.convert", f"--dataset={tmp_path}", out)
    _fails("semi-cml", data, out, "--method=semi-cml")
    _fails("stages semi_cml, prel, got 3,1,1", data, out, "--epochs=3,1,1")
    _fails("--burn_in to be a number from 0 to 1", data, out, "--burn_in=1.5")
    _fails("got validation.*may learn", data, out, "--unlabelled_partitions=labelled,validation")
    _fails("--teacher_modality.*t2", data, out, *TINY, "--teacher_modality=t2")
    _fails("run with width 4, got width 2", data, out, *TINY, "--width=4", f"--init_from={finished}")
    _fails("no scores|validation scores", data, out, *TINY, "--method=prel", "--epochs=1")
    _fails("gpu:7", data, out, *TINY, "--devices=gpu:7")
    _fails("named twice", data, out, *TINY, "--devices=cpu:0,cpu:0")
    _fails("--jit_compile works on one device, got 2", data, out, *TINY, "--devices=cpu:0,cpu:1", "--jit_compile")
    _fails("each of 2 devices, got 1", data, out, *TINY, "--devices=cpu:0,cpu:1", "--labelled_batch=1")


def test_a_resume_with_other_modalities_names_them(finished):
    record = read_record(finished)
    asked = {**record, "modalities": ["ct", "pet", "mr"], "data_hash": "0" * 64}
    with pytest.raises(UserError, match="begun with modalities ct,pet, now ct,pet,mr; data of hash"):
        Keeper(finished, "another hash", True, asked).position()


def test_a_refused_resume_leaves_the_run_unchanged(finished, phantom_dataset):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    _fails(
        "begun with --seed=0, now 9",
        f"--dataset={phantom_dataset}",
        f"--output={finished}",
        *TINY,
        "--resume",
        "--seed=9",
    )
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_empty_truncated_and_changed_checkpoints_are_named(finished, phantom_dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    paths = [copy / "checkpoints" / name for name in ("last.npz", "best-ct.npz")]
    bodies = [path.read_bytes() for path in paths]

    # A bit of the first weight: elsewhere a small file has bytes that nothing is read from.
    places = [body.index(next(iter(_arrays(path).values())).tobytes()) for path, body in zip(paths, bodies)]

    def flipped(body, place):
        return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]

    for broken in (lambda body, _: b"", lambda body, _: body[: len(body) // 2], flipped):
        for path, body, place in zip(paths, bodies, places):
            path.write_bytes(broken(body, place))
        _fails("last.npz", f"--dataset={phantom_dataset}", f"--output={copy}", *TINY, "--resume")
        with pytest.raises(UserError, match="best-ct.npz"):
            Run.load(copy).network("ct")


def test_without_its_checkpoint_a_run_and_its_logs_start_again(finished, phantom_dataset, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "checkpoints" / "last.npz").unlink()
    (copy / "pictures" / "epoch-009.png").write_bytes(b"of a longer run")
    (old,) = (copy / "tensorboard").iterdir()
    where = [f"--dataset={phantom_dataset}", f"--output={copy}", *TINY, "--resume"]
    _fails("begun with --seed=0, now 1", *where, "--seed=1")
    _train(phantom_dataset, copy, "--resume")
    assert not old.exists() and len(list((copy / "tensorboard").iterdir())) == 1
    assert sorted(p.name for p in (copy / "pictures").iterdir()) == ["epoch-001.png", "epoch-003.png"]
    whole, again = (_arrays(f / "checkpoints" / "last.npz") for f in (finished, copy))
    for key in whole.keys() - {"meta"}:
        np.testing.assert_array_equal(whole[key], again[key], err_msg=key)


def test_workers_consider_a_run_finished_when_all_files_are_written(finished, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    assert job.is_finished(copy, 4) and not job.is_finished(copy, 5)
    (copy / "pictures" / "epoch-003.png").unlink()
    assert not job.is_finished(copy, 4)


def test_a_shard_with_a_flipped_bit_is_named(phantom_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(phantom_dataset, copy)
    shard = next(copy.glob("unlabelled-*.tfrecord"))
    body = bytearray(shard.read_bytes())
    body[len(body) // 2] ^= 1
    shard.write_bytes(bytes(body))
    _fails(f"{shard.name}.*corrupt", f"--dataset={copy}", f"--output={tmp_path / 'run'}", *TINY)
    shard.write_bytes(bytes(body[: len(body) // 2]))
    _fails(f"{shard.name}.*truncated", f"--dataset={copy}", f"--output={tmp_path / 'run'}", *TINY)


def test_a_loss_that_is_not_finite_stops_the_run(phantom_dataset, tmp_path):
    """What became none, where, and with whom; where nothing was learnt, no folder is left."""
    how = [*TINY, "--method=supervised", "--epochs=2", "--optimizer=sgd", "--lr_warmup_epochs=0"]
    _fails(
        r"'loss\w*' became (nan|-?inf) at step [12] \(cases: labelled \w+",
        f"--dataset={phantom_dataset}",
        f"--output={tmp_path / 'run'}",
        *how,
        "--learning_rate=1e30",
    )
    assert not (tmp_path / "run").exists()
