"""One writer per output: a second one is refused by a line that names the first, which a kill releases."""

import errno
import fcntl
import os
import socket
import subprocess
import sys

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import locks

HOLD = """
import sys
from semicml_tf.system import locks
with locks.writing_in(sys.argv[1]), locks.writing(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that writes into `tmp_path`/run and the file `tmp_path`/mask.nii.gz."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run"), str(tmp_path / "mask.nii.gz")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_with_the_first_ones_process_and_host(other, tmp_path):
    holder = rf"another command \(process {other.pid} on {socket.gethostname()}\) is writing this output"
    with pytest.raises(UserError, match=rf"run: {holder}"), locks.writing_in(tmp_path / "run"):
        pass
    with pytest.raises(UserError, match=rf"mask.nii.gz: {holder}"), locks.writing(tmp_path / "mask.nii.gz"):
        pass
    with locks.writing(tmp_path / "other.nii.gz"):
        pass
    other.kill()
    other.wait()
    # What the kill left is no obstacle, and the next writer removes it.
    assert (tmp_path / "run" / locks.FILE_NAME).is_file() and not locks.contents(tmp_path / "run")
    with locks.writing_in(tmp_path / "run"), locks.writing(tmp_path / "mask.nii.gz"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["run"]


def test_a_lock_creates_and_removes_its_folders(tmp_path):
    folder = tmp_path / "deep" / "run"
    with locks.writing_in(folder):
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
    with locks.writing_in(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError), locks.writing_in(output):
            pass


def test_a_hostile_or_empty_lock_file_gives_an_error_of_one_line(tmp_path):
    (tmp_path / locks.FILE_NAME).write_bytes(b"\x1b[2J\xff process 1\nmore" + b"x" * 10_000)
    with open(tmp_path / locks.FILE_NAME) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError) as caught, locks.writing_in(tmp_path):
            pass
        os.truncate(tmp_path / locks.FILE_NAME, 0)
        with pytest.raises(UserError, match="a process that has just started"), locks.writing_in(tmp_path):
            pass
    assert "\x1b" not in caught.value.line and "more" not in caught.value.line


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.writing_in(tmp_path):
        pass
    assert "has no locks: start one command at a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--dataset=none", "--output={run}", "--resume"]),
        ("phantom", ["--output={mask}"]),
    ],
)
def test_commands_take_the_lock_before_they_work(other, tmp_path, command, arguments):
    words = [text.format(run=tmp_path / "run", mask=tmp_path / "mask.nii.gz") for text in arguments]
    with pytest.raises(UserError, match=rf"another command \(process {other.pid} on"):
        commandline.call(f"semicml_tf.{command}", words)
