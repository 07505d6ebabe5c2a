"""Shards on a real S3 server read by tf.data through tensorflow-io, in processes of their own.

Of their own because a process that has touched s3:// through tensorflow-io aborts while it is taken down.
"""

import csv
import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from semicml_tf.storage import upload
from tests.support import object_store
from tests.training.test_run import TINY

FLAGS = [*TINY, "--method=supervised", "--epochs=2", "--steps_per_epoch=2", "--picture_every=0", "--deterministic"]
# Equal arrays are told by equal digests, which a process can print.
WINDOWS = """
import hashlib, sys
import tensorflow as tf
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import LIGHT
from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import check_shards, read_cases
info = DatasetInfo.load(sys.argv[1], dataset_access="auto")
check_shards(info, ["labelled", "test"])
digest = hashlib.sha256()
how = StreamSettings(info.modalities, Patch(32), 6, True, 0.67, LIGHT, seed=3)
for element in window_stream(info, info.cases("labelled"), how).take(3):
    for part in tf.nest.flatten(element):
        digest.update(part.numpy().tobytes())
for record in read_cases(info, info.cases("test")):
    digest.update(record.images["ct"].tobytes() + record.native_label.tobytes())
for shard in sorted({case.shard for name in ("labelled", "test") for case in info.cases(name)}):
    for raw in tf.data.TFRecordDataset(info.shard_path(shard)):
        digest.update(raw.numpy())
print(info.streamed, info.root.exists(), digest.hexdigest(), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    with object_store.server() as running:
        yield running


@pytest.fixture(scope="module")
def environment(server, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return {**os.environ, **object_store.environment(server.address), "SEMICML_TF_CACHE": cache}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("made") / "dataset"
    object_store.write_dataset(path)
    return path


@pytest.fixture(scope="module")
def url(server, folder, environment):
    where = server.bucket("streamed") + "/data"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.environment(server.address).items():
            patch.setenv(name, value)
        upload.upload_dataset(folder, where)
    return where


def _run(environment, *arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)


def _run_both(environment, *commands):
    """Two commands at once: each keeps one core busy."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda arguments: _run(environment, *arguments), commands))


@pytest.fixture(scope="module")
def trained(url, folder, environment, tmp_path_factory, server):
    """Runs on the folder and on the URL, and what each said."""
    runs = tmp_path_factory.mktemp("runs")
    server.requests.lines.clear()
    where = {"local": folder, "streamed": url}
    train = ("-m", "semicml_tf.train", *FLAGS)
    commands = [(*train, f"--dataset={data}", f"--output={runs / name}") for name, data in where.items()]
    told = dict(zip(where, _run_both(environment, *commands)))
    for name in where:
        assert told[name].returncode == 0, told[name].stderr
    return runs, told


def test_windows_and_records_equal_those_of_the_folder(url, folder, environment):
    streamed, local = _run_both(environment, *(("-c", WINDOWS, where) for where in (url, folder)))
    assert local.returncode == 0, local.stderr
    assert streamed.stdout.split()[:2] == ["True", "False"], streamed.stderr
    assert streamed.stdout.split()[2] == local.stdout.split()[2]


def test_training_from_s3_ends_well_with_the_losses_of_the_folder(trained, url, environment):
    runs, told = trained
    assert f"{url}: read where it lies" in told["streamed"].stdout and "run: " in told["streamed"].stdout
    rows = {name: list(csv.DictReader(open(runs / name / "history.csv"))) for name in told}
    assert len(rows["local"]) == 2
    for ours, theirs in zip(rows["streamed"], rows["local"]):
        compared = [name for name in ours if "loss" in name or "dice" in name]
        assert compared and [ours[name] for name in compared] == [theirs[name] for name in compared]
    assert not list(pathlib.Path(environment["SEMICML_TF_CACHE"]).rglob("*.tfrecord"))


def test_training_asked_for_no_test_patient(trained, server):
    asked = [line for line in server.requests.lines if ".tfrecord" in line]
    assert any("/labelled-" in line for line in asked) and any("/validation-" in line for line in asked)
    assert not [line for line in asked if "/test-" in line or "/unlabelled-" in line]


def test_evaluation_from_s3_ends_well(trained, url, environment):
    runs, _ = trained
    done = _run(environment, "-m", "semicml_tf.evaluate", runs / "streamed")
    assert done.returncode == 0, done.stderr
    body = json.loads((runs / "streamed" / "evaluation" / "test" / "metrics.json").read_text())
    assert body["dataset"]["folder"] == url


def test_a_mistake_is_one_line_and_exit_code_2(url, environment, tmp_path):
    done = _run(environment, "-m", "semicml_tf.train", f"--dataset={url}", f"--output={tmp_path / 'run'}", "--window=1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    done = _run(environment, "-m", "semicml_tf.train", "--dataset=s3://nobodys/data", f"--output={tmp_path / 'run'}")
    assert done.returncode == 2 and "there is no bucket 'nobodys'" in done.stderr


def test_the_cache_is_used_on_request(url, environment, tmp_path, server):
    done = _run(
        {**environment, "SEMICML_TF_CACHE": str(tmp_path / "cache")},
        "-c",
        WINDOWS.replace('"auto"', '"cache"'),
        url,
    )
    assert done.returncode == 0 and done.stdout.split()[:2] == ["False", "True"], done.stderr
