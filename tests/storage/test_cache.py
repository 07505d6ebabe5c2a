"""Datasets read from an S3 server through the local cache: only what is needed, once, and checked."""

import json
import subprocess
import sys

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import check_shards, read_cases
from semicml_tf.storage import cache, upload
from semicml_tf.storage.store import store_for
from tests.support import object_store
from tests.training.test_run import TINY


@pytest.fixture(scope="module")
def server():
    with object_store.server() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "dataset"
    object_store.write_dataset(path)
    return path


@pytest.fixture(scope="module")
def uploaded(server, folder):
    """URL of a dataset; to be read only."""
    url = server.bucket("readable") + "/data"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.environment(server.address).items():
            patch.setenv(name, value)
        upload.upload_dataset(folder, url)
    return url


@pytest.fixture
def url(uploaded, server, monkeypatch, tmp_path):
    """The same, with a cache of the test's own."""
    for name, value in object_store.environment(server.address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    server.requests.lines.clear()
    return uploaded


def _shards(folder):
    return {path.name.split("-")[0] for path in folder.glob("*.tfrecord")}


def test_only_the_partitions_asked_for_are_fetched(url, folder, tmp_path, server):
    info = DatasetInfo.load(url)
    assert not info.root.exists()  # dataset.json alone was read
    check_shards(info, ["labelled", "validation"])
    assert info.root == tmp_path / "cache" / "datasets" / info.data_hash
    assert _shards(info.root) == {"labelled", "validation"}
    assert server.requests.count("GET", "test-") == 0 and server.requests.count("GET", "unlabelled-") == 0
    for ours, theirs in zip(
        read_cases(DatasetInfo.load(folder), info.cases("labelled")), read_cases(info, info.cases("labelled"))
    ):
        assert ours.case_id == theirs.case_id
        for name in ours.images:
            np.testing.assert_array_equal(ours.images[name], theirs.images[name])
        np.testing.assert_array_equal(ours.label, theirs.label)
    # The cache is a dataset by itself, e.g. for a machine without a network.
    assert DatasetInfo.load(info.root).data_hash == info.data_hash


def test_the_second_time_nothing_is_fetched(url, server):
    info = DatasetInfo.load(url)
    check_shards(info, ["labelled"])
    server.requests.lines.clear()
    check_shards(DatasetInfo.load(url), ["labelled"])
    assert server.requests.count("GET", ".tfrecord") == 0
    check_shards(info, ["labelled", "test"])
    assert server.requests.count("GET", "test-") == 1 and server.requests.count("GET", "labelled-") == 0


def test_a_damaged_copy_is_fetched_again(url, server, folder):
    info = DatasetInfo.load(url)
    check_shards(info, ["labelled", "test"])
    shard = info.root / "test-00000-of-00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    left = info.root / f".{shard.name}.k1lled"
    left.write_bytes(b"half a shard")
    server.requests.lines.clear()
    check_shards(info, ["labelled", "test"])
    assert shard.read_bytes() == (folder / shard.name).read_bytes() and not left.exists()
    assert server.requests.count("GET", ".tfrecord") == 1


def test_other_bytes_in_the_store_are_refused(server, url, folder, tmp_path):
    mine = server.bucket("damaged") + "/data"
    upload.upload_dataset(folder, mine)
    name, store = "test-00000-of-00001.tfrecord", store_for(mine)
    (tmp_path / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
    store.upload(tmp_path / name, f"{mine}/{name}", "")
    info = DatasetInfo.load(mine)
    with pytest.raises(UserError, match=f"{name}: this shard's bytes do not have the hash in dataset.json"):
        check_shards(info, ["labelled", "test"])
    store.delete(f"{mine}/{name}")
    with pytest.raises(UserError, match=f"{name}: reading failed: there is no such file"):
        check_shards(info, ["labelled", "test"])
    assert not list(info.root.glob(f"*{name}*")) and not list(info.root.glob(".test*"))
    check_shards(info, ["labelled"])


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda body: {**body, "data_hash": "../../etc"}, "expected hashes"),
        (lambda body: {**body, "shard_sha256": {"../x": "0" * 64}}, "expected hashes and names of shards"),
        (lambda body: {**body, "layout": "other"}, "it was edited"),
        (lambda body: [], "expected the dataset.json of a converted dataset"),
        (lambda body: {}, "expected the dataset.json of a converted dataset"),
    ],
)
def test_an_index_that_is_none_is_refused(server, url, folder, tmp_path, change, problem):
    mine = server.bucket("edited") + "/data"
    body = change(json.loads((folder / "dataset.json").read_text()))
    (tmp_path / "dataset.json").write_text(json.dumps(body))
    store_for(mine).upload(tmp_path / "dataset.json", f"{mine}/dataset.json", "")
    with pytest.raises(UserError, match=problem) as caught:
        DatasetInfo.load(mine)
    assert caught.value.path == f"{mine}/dataset.json"


def test_two_processes_at_once_fetch_once(url, server):
    script = (
        "import sys; from semicml_tf.records.dataset import DatasetInfo; from semicml_tf.records import shards;"
        "info = DatasetInfo.load(sys.argv[1]); print('ready', flush=True); sys.stdin.readline();"
        "shards.check_shards(info, ['labelled', 'unlabelled', 'validation', 'test'])"
    )
    command = [sys.executable, "-c", script, url]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait() for process in running] == [0, 0]
    info = DatasetInfo.load(url)
    for name in info.shard_sha256:
        assert server.requests.count("GET", name) == 1
    server.requests.lines.clear()
    check_shards(info, list(info.partitions))
    assert server.requests.count("GET", ".tfrecord") == 0


def test_a_cache_that_cannot_be_written(url, tmp_path):
    (tmp_path / "file").write_text("")
    info = DatasetInfo.load(url, cache_dir=str(tmp_path / "file"))
    with pytest.raises(UserError, match="the cache cannot be written to.*--cache_dir or SEMICML_TF_CACHE"):
        check_shards(info, ["labelled"])


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "semicml_tf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "semicml_tf"
    monkeypatch.setenv(cache.VARIABLE, "/there")
    assert str(cache.root()) == "/there" and str(cache.root("/here")) == "/here"


def test_training_and_evaluation_from_a_url(url, tmp_path, server, capsys):
    flags = [*TINY, "--method=supervised", "--epochs=1", "--steps_per_epoch=1", "--picture_every=0"]
    commandline.call("semicml_tf.train", [f"--dataset={url}", f"--output={tmp_path / 'run'}", *flags])
    assert f"{url}: shards are kept in {tmp_path / 'cache'}" in capsys.readouterr().out
    assert server.requests.count("GET", "labelled-") == 2 and server.requests.count("GET", "validation-") == 1
    assert server.requests.count("GET", "test-") == 0 and server.requests.count("GET", "unlabelled-") == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["dataset"] == url
    assert f"--dataset={url}\n" in (tmp_path / "run" / "flags.flagfile").read_text()
    # Evaluation finds the data by run.json, and fetches the test patients only now.
    commandline.call("semicml_tf.evaluate", [str(tmp_path / "run"), "--dataset_access=cache"])
    assert server.requests.count("GET", "test-") == 1
    body = json.loads((tmp_path / "run" / "evaluation" / "test" / "metrics.json").read_text())
    assert body["dataset"]["folder"] == url
