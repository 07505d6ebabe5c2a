"""Two processes on loopback train one run: equal to one process, after a kill or SIGTERM, from separate shards."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import NONE
from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
from semicml_tf.input.stream import StreamSettings
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.training.distributed.cluster import Workers
from tests.methods.test_replicas import CASES, assert_same_steps
from tests.support.ports import free_ports

pytestmark = pytest.mark.usefixtures("quick_runs")

TINY = [
    "--width=2",
    "--window=32",
    "--method=semi_cml",
    "--epochs=4",
    "--steps_per_epoch=4",
    "--labelled_batch=4",
    "--unlabelled_batch=6",
    "--burn_in=0",
    "--optimizer=sgd",
    "--learning_rate=0.01",
    "--devices=cpu:0",
    # One voxel at a threshold's edge would change it, and PReL's labels, beyond rounding.
    "--threshold=0.5",
]
PATIENCE_S = 300


def _config(kind, index, **cluster):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_tf_config_is_read():
    assert Workers.from_environment({}) == Workers(1, 0) == Workers.from_environment({"TF_CONFIG": "{}"})
    two = ["a:1", "b:1"]
    assert Workers.from_environment(_config("worker", 1, worker=two)) == Workers(2, 1, ("a:1", "b:1"))
    held = Workers.from_environment(_config("worker", 1, worker=two, chief=["c:1"]))
    assert held == Workers(3, 2, ("c:1", "a:1", "b:1"))
    assert Workers.from_environment(_config("chief", 0, chief=["c:1"], worker=two)).chief


@pytest.mark.parametrize(
    "environment, match",
    [
        ({"TF_CONFIG": "{"}, "cannot be read"),
        ({"TF_CONFIG": "[1]"}, "cannot be read"),
        (_config("worker", 2, worker=["a:1", "b:1"]), "worker 2 is not in its cluster"),
        (_config("worker", 0, worker=["a:1"], ps=["p:1"]), "got 'ps'"),
        (_config("worker", 0, worker="a:1"), "lists of hosts"),
        (_config("worker", 0, worker=["a:1", "b"]), "host:port .*got 'b'"),
    ],
)
def test_an_invalid_tf_config_is_refused_in_one_line(environment, match):
    with pytest.raises(UserError, match=match) as caught:
        Workers.from_environment(environment)
    assert "\n" not in caught.value.line and "TF_CONFIG" in caught.value.line


class _Pair:
    """Two workers of one run, as processes; their output is in `text` when they have ended."""

    def __init__(self, dataset, output, *arguments, own=((), ())):
        hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
        command = [sys.executable, "-m", "tests.support.quick_runs", f"--dataset={dataset}", f"--output={output}"]
        self.processes = [
            subprocess.Popen(
                [*command, *TINY, *arguments, *own[index]],
                env=os.environ | _config("worker", index, worker=hosts),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(2)
        ]

    def wait(self):
        self.text = [process.communicate(timeout=PATIENCE_S)[0] for process in self.processes]
        return [process.returncode for process in self.processes]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


def _last(folder):
    with np.load(folder / "checkpoints" / "last.npz") as stored:
        return {key: stored[key] for key in stored.files if key != "meta"}


def _rows(folder):
    with open(folder / "history.csv") as stream:
        return list(csv.DictReader(stream))


def _assert_same(folder, other):
    ours, theirs = _last(folder), _last(other)
    assert ours.keys() == theirs.keys()
    for key in ours:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    drop = "slices_per_second"
    one, two = ([{k: v for k, v in row.items() if k != drop} for row in _rows(which)] for which in (folder, other))
    assert one == two


@pytest.fixture(scope="module")
def together(phantom_dataset, tmp_path_factory):
    """A run of two workers, never interrupted."""
    folder = tmp_path_factory.mktemp("together") / "run"
    with _Pair(phantom_dataset, folder) as pair:
        assert pair.wait() == [0, 0], pair.text
    body = json.loads((folder / "run.json").read_text())
    assert (body["workers"], body["devices"]) == (2, 2)
    # The chief alone speaks of results.
    assert "best mean validation DSC" in pair.text[0] and "best mean validation DSC" not in pair.text[1]
    return folder


@pytest.mark.slow
def test_two_workers_take_the_same_steps_as_one_process(tmp_path):
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    # Files: who writes more than a pipe holds waits for its reader, and the other worker for both.
    outputs = [tmp_path / str(number) for number in range(2)]
    processes = []
    for index, path in enumerate(outputs):
        with open(path, "w") as stream:
            command = [sys.executable, "-m", "tests.support.worker_steps", *CASES]
            environment = os.environ | _config("worker", index, worker=hosts)
            processes.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT))
    for process in processes:
        process.wait(timeout=3 * PATIENCE_S)
    texts = [path.read_text() for path in outputs]
    assert [process.returncode for process in processes] == [0, 0], texts
    one, other = (
        [json.loads(line[len("found ") :]) for line in text.splitlines() if line.startswith("found ")] for text in texts
    )
    assert [case for case, *_ in one] == list(CASES) and one == other
    for case, steps, weights in one:
        assert_same_steps(steps, weights, case)


def _wait_for_rows(folder, pair, count):
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "history.csv").exists() or len(_rows(folder)) < count:
        assert all(process.poll() is None for process in pair.processes) and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_job_and_the_next_job_resumes(together, phantom_dataset, tmp_path, victim):
    folder = tmp_path / "run"
    with _Pair(phantom_dataset, folder) as pair:
        _wait_for_rows(folder, pair, 1)
        pair.processes[victim].kill()
        codes = pair.wait()
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 2, pair.text
    last = pair.text[1 - victim].strip().splitlines()[-1]
    assert "lost another one" in last and "--resume" in last, pair.text
    done = len(_rows(folder))
    assert done < 4
    with _Pair(phantom_dataset, folder, "--resume") as pair:
        assert pair.wait() == [0, 0], pair.text
    _assert_same(folder, together)


@pytest.mark.slow
def test_all_workers_stop_after_the_same_step_when_one_is_stopped(phantom_dataset, tmp_path):
    """Each with batch statistics of its own, which the chief keeps for both."""
    how, folder = ["--nosynchronized_statistics"], tmp_path / "run"
    with _Pair(phantom_dataset, tmp_path / "whole", *how) as pair:
        assert pair.wait() == [0, 0], pair.text
    with _Pair(phantom_dataset, folder, *how) as pair:
        _wait_for_rows(folder, pair, 1)
        pair.processes[1].terminate()
        assert 0 not in pair.wait()
    steps = [text.split("after step ")[1].split(";")[0] for text in pair.text]
    assert steps[0] == steps[1], pair.text
    with _Pair(phantom_dataset, folder, *how, "--resume") as pair:
        assert pair.wait() == [0, 0], pair.text
    _assert_same(folder, tmp_path / "whole")


def _settings(info, share, labelled=4, unlabelled=6):
    stream = StreamSettings(info.modalities, Patch(32), 0, True, 1.0, NONE, 3)
    return BatchSettings(("labelled",), ("labelled", "unlabelled"), labelled, unlabelled, stream, share)


def test_workers_share_the_shards_of_each_stream(phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    everybody = [case for partition in ("labelled", "unlabelled") for case in info.cases(partition)]
    seen = []
    for number in range(2):
        drawn = list(batches(info, _settings(info, (number, 2))).take(20).as_numpy_iterator())
        assert [part["image"]["ct"].shape[0] for part in drawn[0].values()] == [2, 3]
        patients = {int(p) for element in drawn for p in element["unlabelled"]["patient"]}
        seen.append(patients)
    # Numbers are those of the whole list: negatives are told from one another across workers.
    assert seen[0] | seen[1] == set(range(len(everybody))) and not seen[0] & seen[1]
    files = [{everybody[number].shard for number in patients} for patients in seen]
    assert not files[0] & files[1]


def test_unequal_parts_add_up_to_the_batch(phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    sizes = [_settings(info, (number, 2), 5, 7).part(size) for size in (5, 7) for number in range(2)]
    assert sizes == [2, 3, 3, 4]


def test_a_batch_smaller_than_the_workers_is_refused(phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    with pytest.raises(UserError, match="at least 2 slices.*--labelled_batch"):
        batches(info, _settings(info, (0, 2), labelled=1))


def test_fewer_shards_than_workers_are_refused(phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    with pytest.raises(UserError, match="for each of the 5 workers.*--cases_per_shard"):
        batches(info, _settings(info, (0, 5), 10, 10))


def test_a_stage_without_shards_for_all_workers_is_refused_before_anything_starts(phantom_dataset, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config("worker", 0, worker=[f"a:{n}" for n in range(1, 9)])["TF_CONFIG"])
    words = [f"--dataset={phantom_dataset}", *TINY, "--worker_data=own", "--dry_run"]
    with pytest.raises(UserError, match="shard of labelled for each of the 8 workers.*--worker_data=same"):
        commandline.call("semicml_tf.train", words)


@pytest.mark.slow
def test_workers_with_different_flags_are_refused(together, phantom_dataset, tmp_path):
    with _Pair(phantom_dataset, tmp_path / "run", own=(["--seed=1"], ["--seed=2"])) as pair:
        assert pair.wait() == [2, 2]
    assert all("do not see the same run" in text.strip().splitlines()[-1] for text in pair.text), pair.text
    assert not (tmp_path / "run").exists()
    # One of them knows by itself that its flags are not those that the run began with.
    shutil.copytree(together, tmp_path / "begun")
    (tmp_path / "begun" / "pictures" / "epoch-003.png").unlink()  # else it is finished
    before = (tmp_path / "begun" / "flags.flagfile").read_bytes()
    with _Pair(phantom_dataset, tmp_path / "begun", "--resume", own=((), ["--seed=2"])) as pair:
        assert pair.wait() == [2, 2]
    last = [text.strip().splitlines()[-1] for text in pair.text]
    assert "do not see the same run" in last[0] and "this run was begun with --" in last[1], pair.text
    assert (tmp_path / "begun" / "flags.flagfile").read_bytes() == before


@pytest.mark.slow
def test_two_workers_use_the_same_loss_scale(phantom_dataset, tmp_path):
    how = ["--precision=float16", "--method=supervised", "--epochs=1", "--bce_weight=100000"]
    with _Pair(phantom_dataset, tmp_path / "two", *how) as pair:
        assert pair.wait() == [0, 0], pair.text
    commandline.call("semicml_tf.train", [f"--dataset={phantom_dataset}", f"--output={tmp_path / 'one'}", *TINY, *how])
    (two,), (one,) = (_rows(tmp_path / name) for name in ("two", "one"))
    for name in ("ct", "pet"):
        assert two[f"loss_scale_{name}"] == one[f"loss_scale_{name}"]
        # It begins at 2^15: a step was left out, by both.
        assert 1 < float(one[f"loss_scale_{name}"]) < 2**15
    # Features are of 11 bits, and batches are split elsewhere.
    assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=0.01)


@pytest.mark.slow
def test_two_workers_train_from_separate_shards(phantom_dataset, tmp_path):
    with _Pair(phantom_dataset, tmp_path / "run", "--worker_data=own", "--epochs=2") as pair:
        assert pair.wait() == [0, 0], pair.text
    assert [row["step"] for row in _rows(tmp_path / "run")] == ["4", "8"]
