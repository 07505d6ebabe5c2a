"""One run at a time on a metadata store."""

import os
import subprocess
import sys

import pytest

from pipelines.local_runner import locked
from semicml_tf.errors import UserError

_LOCK = """
import pathlib, sys
from pipelines.local_runner import locked
with locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_on_a_store_is_refused_until_the_first_ends(tmp_path, capsys):
    metadata = tmp_path / "metadata.sqlite"
    other = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(metadata)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=rf"another run \(process {other.pid} on .+\) is using this metadata store"):
            with locked(metadata):
                pass
        with pytest.raises(UserError, match="another run"):
            with locked(metadata, wait_minutes=0.01):
                pass
        assert f"waiting for the run of process {other.pid}" in capsys.readouterr().out
    finally:
        other.kill()
        other.communicate()
    with locked(metadata):
        assert (tmp_path / ".metadata.sqlite.lock").read_text().startswith(f"process {os.getpid()} on ")


def test_lock_in_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        with locked(tmp_path / "file" / "metadata.sqlite"):
            pass
