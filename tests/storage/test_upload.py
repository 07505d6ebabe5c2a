"""Datasets laid on an S3 server: whole or not at all, and every refusal in one line."""

import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.storage import upload
from semicml_tf.storage.store import FsspecStore, store_for
from tests.support import object_store


@pytest.fixture(scope="module")
def server():
    with object_store.server() as running:
        yield running


@pytest.fixture
def target(server, monkeypatch, request):
    """URL in a bucket of the test's own."""
    for name, value in object_store.environment(server.address).items():
        monkeypatch.setenv(name, value)
    server.requests.lines.clear()
    return server.bucket(f"b{abs(hash(request.node.name))}") + "/some folder/Daten-ä"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "dataset"
    object_store.write_dataset(path)
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another dataset: as many shards, other bytes."""
    path = tmp_path_factory.mktemp("made") / "dataset"
    object_store.write_dataset(path, seed=1)
    return path


@pytest.fixture(scope="module")
def store(server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_store.environment(server.address).items():
            patch.setenv(name, value)
        store = store_for("s3://bucket")
        store.sizes(server.bucket("any"))  # it reads the environment on first use
    return store


@pytest.fixture
def names(store, target):
    """Names of what is at `target`."""
    return lambda: set(store.sizes(target))


def test_only_files_of_the_conversion_are_uploaded(target, folder, tmp_path, server, names, store):
    mine = tmp_path / "dataset"
    shutil.copytree(folder, mine)
    for private in ("pseudonyms.json", ".key", "preview.txt", "notes/secret.json"):
        (mine / private).parent.mkdir(exist_ok=True)
        (mine / private).write_text("names of patients")
    sent = upload.upload_dataset(mine, target)
    wanted = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names() == set(sent) == wanted and sent[-1] == "dataset.json"
    for name in wanted:
        assert store.read(f"{target}/{name}") == (folder / name).read_bytes()
    # The order in which the server got them: the index last.
    puts = [line for line in server.requests.lines if "PUT /" in line and "Daten" in line]
    assert len(puts) == len(wanted) and "dataset.json" in puts[-1]


def test_existing_files_are_not_sent_again(target, folder, server, tmp_path, store):
    upload.upload_dataset(folder, target)
    server.requests.lines.clear()
    assert upload.upload_dataset(folder, target) == [] and server.requests.count("PUT", "Daten") == 0
    # One shard replaced behind our back, of the same size: its hash gives it away.
    shard = next(iter(DatasetInfo.load(folder).shard_sha256))
    (tmp_path / shard).write_bytes(bytes((folder / shard).stat().st_size))
    store.upload(tmp_path / shard, f"{target}/{shard}", "0" * 64)
    assert upload.upload_dataset(folder, target) == [shard]


def test_another_dataset_is_replaced_on_request_only(target, folder, other, tmp_path, names, store):
    upload.upload_dataset(folder, target)
    before = store.read(f"{target}/dataset.json")
    for call in (
        lambda: upload.upload_dataset(other, target),
        lambda: upload.check_target(target, overwrite=False),
    ):
        with pytest.raises(UserError, match="another dataset is there.*--overwrite"):
            call()
    assert store.read(f"{target}/dataset.json") == before
    store.upload(folder / "split.json", f"{target}/test-00007-of-00008.tfrecord", "0")
    store.upload(folder / "split.json", f"{target}/mine.txt", "0")
    upload.check_target(target, overwrite=True)
    upload.upload_dataset(other, target, overwrite=True)
    # A shard of the former dataset is gone, what is no part of any stays.
    assert "mine.txt" in names() and "test-00007-of-00008.tfrecord" not in names()
    info = DatasetInfo.load(target, cache_dir=str(tmp_path))
    assert info.data_hash == DatasetInfo.load(other).data_hash


def test_a_target_with_other_files_is_refused(target, folder, server, names, store):
    store.upload(folder / "split.json", f"{target}/thesis.doc", "0")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="no dataset and not empty.*thesis.doc"):
            upload.check_target(target, overwrite=overwrite)
        with pytest.raises(UserError, match="no dataset and not empty.*thesis.doc"):
            upload.upload_dataset(folder, target, overwrite=overwrite)
    assert names() == {"thesis.doc"}


def test_a_killed_upload_leaves_no_dataset_and_resumes(target, folder, server, names):
    script = textwrap.dedent("""
        import os, signal, sys
        from semicml_tf.storage import store, upload
        send, sent = store.FsspecStore.upload, []
        def killed(self, *arguments):
            send(self, *arguments)
            sent.append(1)
            if len(sent) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        store.FsspecStore.upload = killed
        upload.upload_dataset(sys.argv[1], sys.argv[2])
    """)
    done = subprocess.run([sys.executable, "-c", script, folder, target])
    assert done.returncode == -signal.SIGKILL
    there = names()
    assert there and "dataset.json" not in there
    with pytest.raises(UserError, match="expected a converted dataset, but there is no such file"):
        DatasetInfo.load(target)
    upload.check_target(target, overwrite=False)
    sent = upload.upload_dataset(folder, target)
    assert set(sent).isdisjoint(there) and set(sent) | there == names()


def test_a_truncated_file_in_the_store_is_sent_again(target, folder, monkeypatch, tmp_path):
    send, calls = FsspecStore.upload, []

    def cut(self, path, url, digest):
        calls.append(url)
        if calls.count(url) == 1:
            short = tmp_path / f"{len(calls)}"
            short.write_bytes(pathlib.Path(path).read_bytes()[:-1])
            path = short
        send(self, path, url, digest)

    monkeypatch.setattr(FsspecStore, "upload", cut)
    sent = upload.upload_dataset(folder, target)
    assert len(calls) == 2 * len(sent)
    monkeypatch.setattr(FsspecStore, "upload", lambda self, *arguments: None)
    with pytest.raises(UserError, match="attempts to upload it failed.*Run the same command again"):
        upload.upload_dataset(folder, f"{target}/other")


def test_a_damaged_folder_is_not_uploaded(target, folder, tmp_path, names):
    broken = tmp_path / "dataset"
    shutil.copytree(folder, broken)
    shard = next(iter(DatasetInfo.load(folder).shard_sha256))
    (broken / shard).write_bytes(b"x")
    with pytest.raises(UserError, match="bytes are not those that conversion wrote"):
        upload.upload_dataset(broken, target)
    (broken / shard).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        upload.upload_dataset(broken, target)
    with pytest.raises(UserError, match="no readable dataset.json"):
        upload.upload_dataset(tmp_path, target)
    assert not names()


def _line(call):
    with pytest.raises(UserError) as caught:
        call()
    line = caught.value.line
    assert "dummysecret" not in line and "\n" not in line
    return line


def test_a_missing_bucket_is_reported(target, folder, server):
    line = _line(lambda: upload.upload_dataset(folder, "s3://nobodys/data"))
    assert "there is no bucket 'nobodys'" in line and server.address in line and "AWS_ENDPOINT_URL" in line
    assert "there is no bucket" in _line(lambda: DatasetInfo.load("s3://nobodys/data"))


def test_wrong_and_missing_credentials_are_reported(target, folder, server, monkeypatch):
    with server.checking_keys():
        for call in (lambda: upload.check_target(target, overwrite=False), lambda: DatasetInfo.load(target)):
            line = _line(call)
            assert f"{server.address} refused access" in line and "AWS_ACCESS_KEY_ID" in line
            assert "dummykey" not in line
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no valid credentials were found" in _line(lambda: DatasetInfo.load(target))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "AWS_PROFILE" in _line(lambda: DatasetInfo.load(target))


def test_nobody_answers(target, folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:dummysecret@127.0.0.1:9")
    line = _line(lambda: upload.upload_dataset(folder, target))
    assert "http://127.0.0.1:9 cannot be reached" in line
    monkeypatch.setenv("AWS_ENDPOINT_URL", "elsewhere")
    assert "no valid address of a store" in _line(lambda: upload.check_target(target, overwrite=False))


@pytest.mark.parametrize(
    "url, problem",
    [
        ("s3://", "expected SCHEME://BUCKET/PATH"),
        ("s3:///path", "expected SCHEME://BUCKET/PATH"),
        ("s3://me:dummysecret@bucket/path", "without a user's name or password"),
        ("s3://bucket/path?X-Amz-Signature=dummysecret", r"without \? or #"),
        ("s3://bucket/../other", "without empty parts"),
        ("s3://bucket//other", "without empty parts"),
        ("carrier-pigeon://bucket/path", "expected a URL that fsspec can open"),
    ],
)
def test_malformed_urls(folder, url, problem):
    with pytest.raises(UserError, match=problem) as caught:
        upload.upload_dataset(folder, url)
    assert "dummysecret" not in caught.value.line


def test_a_library_that_is_missing_is_named_with_its_remedy():
    script = (
        "import sys; sys.modules['s3fs'] = None\nfrom semicml_tf.storage.store import store_for; store_for('s3://b')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install "semicml-tf[s3]"' in done.stderr.splitlines()[-1]


def test_a_restart_converts_in_the_same_folder(tmp_path):
    first, again = (upload.local_output("s3://bucket/a/data/", str(tmp_path)) for _ in range(2))
    assert first == again and first.is_relative_to(tmp_path) and first.name.startswith("data-")
    assert first != upload.local_output("s3://bucket/b/data", str(tmp_path))
