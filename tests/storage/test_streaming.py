"""tf.data reading shards where they lie, on TensorFlow's own `ram://`, which takes the same way as `gs://`."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import LIGHT, NONE
from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import check_shards, read_cases
from semicml_tf.storage import streaming, upload
from semicml_tf.storage.store import Stat, TensorFlowStore, store_for
from semicml_tf.training import job
from tests.support import object_store

HAS_TENSORFLOW_IO = importlib.util.find_spec("tensorflow_io") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "dataset"
    object_store.write_dataset(path)
    return path


@pytest.fixture
def url(folder, request):
    where = f"ram://bucket/{request.node.name}"
    upload.upload_dataset(folder, where)
    return where


def test_tensorflow_opens_gs_by_itself():
    assert "gs" in tf.io.gfile.get_registered_schemes() and streaming.can_stream("gs")
    assert isinstance(store_for("gs://bucket/path"), TensorFlowStore)


def test_the_engine_lists_reads_and_deletes(url, folder, tmp_path):
    store = store_for(url)
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert store.sizes(url) == {name: path.stat().st_size for name, path in files.items()}
    assert store.sizes(f"{url}/nowhere") == {}
    assert store.stat(f"{url}/split.json") == Stat(files["split.json"].stat().st_size, None)
    assert store.stat(f"{url}/nothing") is None
    store.download(f"{url}/split.json", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == store.read(f"{url}/split.json") == files["split.json"].read_bytes()
    store.delete(f"{url}/split.json")
    assert "split.json" not in store.sizes(url)
    with pytest.raises(UserError, match="there is no such file"):
        store.read(f"{url}/split.json")


def test_a_streamed_dataset_gives_the_windows_of_the_folder(url, folder, tmp_path):
    info = DatasetInfo.load(url, dataset_access="auto", cache_dir=str(tmp_path))
    assert info.streamed and info.location == url and info.shard_path("x") == f"{url}/x"
    check_shards(info, ["labelled", "unlabelled"])
    assert not info.root.exists()
    how = StreamSettings(info.modalities, Patch(32), 6, True, 0.67, LIGHT, seed=3)
    streams = [window_stream(one, one.cases("labelled"), how).take(2) for one in (info, DatasetInfo.load(folder))]
    for ours, theirs in zip(*streams):
        for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_streamed_dataset_gives_the_records_of_the_folder(url, folder):
    info, local = DatasetInfo.load(url, dataset_access="stream"), DatasetInfo.load(folder)
    cases = (*info.cases("labelled"), *info.cases("test"))
    for ours, theirs in zip(read_cases(info, cases), read_cases(local, cases)):
        assert ours.case_id == theirs.case_id
        np.testing.assert_array_equal(ours.native_label, theirs.native_label)
        np.testing.assert_array_equal(ours.images["pet"], theirs.images["pet"])


def test_the_same_dataset_goes_through_the_cache_on_request(url, folder, tmp_path):
    info = DatasetInfo.load(url, dataset_access="cache", cache_dir=str(tmp_path))
    check_shards(info, ["test"])
    assert not info.streamed and [path.name.split("-")[0] for path in info.root.glob("*.tfrecord")] == ["test"]


def test_missing_and_damaged_shards_are_reported(url, folder, tmp_path):
    info, store = DatasetInfo.load(url, dataset_access="stream"), store_for(url)
    name = "test-00000-of-00001.tfrecord"
    (tmp_path / name).write_bytes((folder / name).read_bytes()[:-20])
    store.delete(f"{url}/{name}")  # `ram` would keep the end of a longer file
    store.upload(tmp_path / name, f"{url}/{name}", "")
    with pytest.raises(UserError, match=f"{name}: this shard is truncated or corrupt"):
        list(read_cases(info, info.cases("test")))
    store.delete(f"{url}/{name}")
    with pytest.raises(UserError, match=f"{name}: this shard is missing"):
        check_shards(info, ["test"])
    with pytest.raises(UserError, match=f"{name}: reading failed: there is no such file"):
        list(read_cases(info, info.cases("test")))
    check_shards(info, ["labelled"])


def test_a_false_record_is_named_once_tensorflow_fails(tmp_path):
    def change(features):
        features["grid/shape"].int64_list.value[0] += 1

    object_store.falsify(object_store.write_dataset(tmp_path / "data"), change)
    upload.upload_dataset(tmp_path / "data", "ram://bucket/false")
    info = DatasetInfo.load("ram://bucket/false", dataset_access="stream")
    how = StreamSettings(info.modalities, Patch(32), 6, True, 0.67, NONE, seed=3)
    with pytest.raises(UserError, match=r"ram://bucket/false/labelled-.*: record 0 \(case labelled-0\)"):
        with job.explained(info, ["labelled"]):
            list(window_stream(info, info.cases("labelled"), how).take(1))


def test_streams_seek_like_files(url, folder):
    with open(folder / "dataset.json", "rb") as ours, streaming.open_binary(f"{url}/dataset.json") as theirs:
        for offset, whence, count in ((0, os.SEEK_END, 0), (7, os.SEEK_SET, 5), (3, os.SEEK_CUR, 9), (-4, 2, 50)):
            assert ours.seek(offset, whence) == theirs.seek(offset, whence)
            assert ours.read(count) == theirs.read(count) and ours.tell() == theirs.tell()


@pytest.mark.skipif(HAS_TENSORFLOW_IO, reason="s3:// can be streamed here")
def test_s3_goes_through_the_cache_where_tensorflow_io_does_not_load():
    assert not streaming.can_stream("s3")
    with pytest.raises(UserError, match=r"cannot be streamed.*--dataset_access=cache.*semicml-tf\[io\]"):
        streaming.prepare("s3://bucket/path")


def test_leaving_without_teardown_keeps_the_exit_code_and_the_output():
    script = (
        "import atexit, os, sys; from semicml_tf import commandline; from semicml_tf.errors import UserError;"
        "atexit.register(os.abort); commandline.leave_without_teardown();"
        "print('the last word'); commandline.run('semicml_tf.train', sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", script, "--no_such_flag"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "the last word\n"
    assert done.stderr.startswith("semicml_tf.train: error: unknown flag")
