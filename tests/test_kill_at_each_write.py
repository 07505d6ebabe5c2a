"""Outputs at each moment of a kill: whole, or absent, or the former one; the next command finishes and clears up."""

import pathlib

import pytest

from semicml_tf import atomic, commandline, locks
from tests.simulated_kill import Killed, killed_at


def _write_folder(output: pathlib.Path, text: str) -> None:
    with locks.writing(output), atomic.new_directory(output, overwrite=True) as staged:
        for name in ("a", "b"):
            atomic.write_text(staged / name, text)


def _write_file(output: pathlib.Path, text: str) -> None:
    with locks.writing(output):
        atomic.write_text(output, text)


def _texts(output: pathlib.Path) -> list[str]:
    paths = [output / "a", output / "b"] if output.is_dir() else [output]
    return [path.read_text() for path in paths]


@pytest.mark.parametrize("write", [_write_folder, _write_file])
@pytest.mark.parametrize("former", [False, True])
def test_a_kill_at_any_change_leaves_an_output_whole_or_absent(write, former, tmp_path, monkeypatch):
    for number in range(100):
        output = tmp_path / str(number) / ("n" * 60)
        if former:
            write(output, "old")
        try:
            with killed_at(number, monkeypatch):
                write(output, "new")
        except Killed:
            if output.exists():
                assert set(_texts(output)) in ({"old"}, {"new"})
        else:
            break
        write(output, "last")
        assert set(_texts(output)) == {"last"}
        assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert 3 < number < 99


def test_a_phantom_killed_at_any_change_is_made_by_the_same_command(tmp_path, monkeypatch):
    words = ["--cases=1", "--labelled=1", "--validation=0", "--test=0", "--phantom_size_mm=96,96,64"]
    words += ["--phantom_spacing_mm=16,16,16"]

    def make(output):
        commandline.call("semicml_tf.phantom", [f"--output={output}", *words, "--overwrite"])

    def held(output):
        return {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}

    make(tmp_path / "whole")
    whole = held(tmp_path / "whole")
    for number in range(0, 200, 3):
        output = tmp_path / str(number) / "out"
        try:
            with killed_at(number, monkeypatch):
                make(output)
        except Killed:
            assert not output.exists() or held(output) == whole
        else:
            break
        make(output)
        assert held(output) == whole
        assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert 5 < number < 199
