"""A conversion that was killed goes on where it was, and ends with the bytes of one that was not."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from semicml_tf.conversion.execution import tasks
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.errors import UserError
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, write_split

NAMES = [f"P{number:02d}" for number in range(10)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = image_folders.hecktor(tmp_path_factory.mktemp("restart") / "source", NAMES)
    write_split(root, {"labelled": NAMES[:3], "unlabelled": NAMES[3:7], "validation": NAMES[7:8], "test": NAMES[8:]})
    return root


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    return contents(convert(source, tmp_path_factory.mktemp("undisturbed") / "out", "--cases_per_shard=2"))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# A conversion whose process kills itself once it has saved so many notes of a kind.
_KILLED = """
import os, signal, sys
from semicml_tf import commandline
from semicml_tf.conversion.execution import work_folder as works
kind, count, save, saved = sys.argv[1], int(sys.argv[2]), works.save, []
def counted(path, *rest):
    save(path, *rest)
    saved.append(path.parent.name)
    if saved.count(kind) == count:
        os.kill(os.getpid(), signal.SIGKILL)
works.save = counted
commandline.call("semicml_tf.convert", sys.argv[3:])
"""


def killed(source, output, kind, count):
    """Converts in a process that is killed after `count` notes of `kind`; returns the work folder that it leaves."""
    arguments = [f"--input={source}", f"--output={output}", *FLAGS, "--cases_per_shard=2"]
    done = subprocess.run([sys.executable, "-c", _KILLED, kind, str(count), *arguments], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return output.parent / f".{output.name}.work"


def finished(work, kind="records"):
    return {path.name for path in (work / kind).glob("[!.]*.json")}


@pytest.mark.parametrize("kind,count", [("reports", 3), ("records", 1), ("records", 6), ("shards", 2)])
def test_killed_and_called_again_it_ends_with_the_same_bytes(source, undisturbed, tmp_path, monkeypatch, kind, count):
    output = tmp_path / "out"
    work = killed(source, output, kind, count)
    assert not output.exists() and len(finished(work, kind)) == count
    before = finished(work)
    made = []
    build = tasks.build

    def counted(case, *args, **named):
        made.append(case.case_id)
        return build(case, *args, **named)

    monkeypatch.setattr(tasks, "build", counted)
    again = contents(convert(source, output, "--cases_per_shard=2", "--workers=1"))
    assert {name: again[name] for name in undisturbed} == undisturbed and set(again) == set(undisturbed)
    # No finished case was made again, and none of the others was forgotten.
    assert len(made) == len(NAMES) - len(before) and len(set(made)) == len(made)
    assert not work.exists()


def test_killed_at_any_moment_with_workers(source, undisturbed, tmp_path):
    output = tmp_path / "out"
    command = [sys.executable, "-m", "semicml_tf.convert", f"--input={source}", f"--output={output}", *FLAGS]
    for seconds in (1.0, 2.5):
        process = subprocess.Popen(
            [*command, "--cases_per_shard=2", "--workers=2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if output.exists():
            break
    if not output.exists():
        convert(source, output, "--cases_per_shard=2")
    assert contents(output) == undisturbed


def test_what_another_input_or_other_flags_left_is_not_taken(source, undisturbed, tmp_path):
    output = tmp_path / "out"
    killed(source, output, "records", 4)
    coarse = contents(convert(source, output, "--cases_per_shard=2", "--spacing_mm=3,6,6"))
    assert coarse == contents(convert(source, tmp_path / "other", "--cases_per_shard=2", "--spacing_mm=3,6,6"))
    assert coarse["dataset.json"] != undisturbed["dataset.json"]


def test_one_changed_case_in_a_finished_shard(tmp_path, monkeypatch):
    """A shard is put together anew of the changed case's record and the other's, which lies in the shard alone."""
    root = image_folders.hecktor(tmp_path / "source", NAMES[:2])
    write_split(root, {"labelled": NAMES[:2]})

    def stopped(*args, **named):
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("semicml_tf.conversion.execution.dataset_writer.complete", stopped)
        with pytest.raises(UserError, match="disk is full"):
            convert(root, tmp_path / "out")
    assert (tmp_path / ".out.work/dataset/labelled-00000-of-00001.tfrecord").is_file()
    image_folders.write(root / "imagesTr/P01__CT.nii.gz", image_folders.ct(77))
    made = []
    build = tasks.build
    monkeypatch.setattr(tasks, "build", lambda case, *a, **n: (made.append(case.case_id), build(case, *a, **n))[1])
    assert contents(convert(root, tmp_path / "out")) == contents(convert(root, tmp_path / "fresh"))
    assert made == ["P01", "P00", "P01"]


def test_killed_while_it_cleared_up(source, undisturbed, tmp_path, monkeypatch):
    output, flags = tmp_path / "out", ("--cases_per_shard=2", "--overwrite")
    with monkeypatch.context() as patch:
        patch.setattr(works, "discard", lambda work: None)
        for _ in range(2):  # the second time, the folder also holds the output that was replaced
            assert contents(convert(source, output, *flags)) == undisturbed
    assert (tmp_path / ".out.work/former").is_dir()
    assert contents(convert(source, output, *flags)) == undisturbed
    assert not (tmp_path / ".out.work").exists()


def test_verification_alone_leaves_what_a_killed_conversion_has_finished(source, tmp_path):
    output = tmp_path / "out"
    work = killed(source, output, "records", 2)
    before = finished(work)
    convert(source, output, "--verify_only")
    assert before and finished(work) == before


def test_two_conversions_do_not_write_one_output(source, tmp_path):
    work = tmp_path / ".out.work"
    work.mkdir()
    with open(work / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another conversion \(.+\) is writing this output"):
            convert(source, tmp_path / "out")
    assert pathlib.Path(convert(source, tmp_path / "out")).is_dir()
