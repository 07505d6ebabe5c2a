"""Flags, flagfiles and help, as every command has them."""

import os
import pathlib
import subprocess
import sys

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError

REPOSITORY = pathlib.Path(__file__).parents[1]
CONVERT = "semicml_tf.convert"


def parsed(*arguments):
    """The flags given, by name, and the positional arguments."""
    values, positional = commandline.parse(CONVERT, arguments)
    return {name: values[name].value for name in values if values[name].present}, positional


def flagfile(folder, *lines, name="a.flags"):
    path = folder / name
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    "arguments,flags",
    [
        (["--overwrite"], {"overwrite": True}),
        (["--nooverwrite"], {"overwrite": False}),
        (["--overwrite=false"], {"overwrite": False}),
        (["--modalities=ct,pet"], {"modalities": ["ct", "pet"]}),
        (["--modalities", "ct,pet", "--overwrite"], {"modalities": ["ct", "pet"], "overwrite": True}),
        (["--output=a=b"], {"output": "a=b"}),
        (["--split_seed", "-3"], {"split_seed": -3}),
        (["--cases_per_shard=2", "--cases_per_shard=3"], {"cases_per_shard": 3}),
    ],
)
def test_flags(arguments, flags):
    assert parsed(*arguments) == (flags, [])


def test_positional_arguments():
    assert parsed("x", "--output=o", "y") == ({"output": "o"}, ["x", "y"])
    assert parsed("--output=o", "--", "--x") == ({"output": "o"}, ["--x"])
    assert parsed("--overwrite", "false") == ({"overwrite": True}, ["false"])
    with pytest.raises(UserError, match="unexpected argument 'x'"):
        commandline.call(CONVERT, ["x"])


@pytest.mark.parametrize(
    "argument,message",
    [
        ("--modalitis=ct", "unknown flag --modalitis. Meant may be --modalities"),
        ("--zzzzz=1", "unknown flag --zzzzz. See --help"),
        ("--nomodalities", "nomodalities"),
        ("--cases_per_shard=many", "cases_per_shard=many"),
        ("--cases_per_shard=0", "cases_per_shard=0"),
        ("--overwrite=maybe", "overwrite=maybe"),
        ("--modalities", "Missing value for flag --modalities"),
    ],
)
def test_mistakes_on_the_command_line(argument, message):
    with pytest.raises(UserError, match=message) as caught:
        parsed(argument)
    assert "\n" not in caught.value.line


def test_a_flagfile_serves_every_command(tmp_path):
    # --modality belongs to prediction.
    path = flagfile(
        tmp_path, "\ufeff# a study", "// too", "", "  --modalities=ct,pet", "--nooverwrite", "--modality=ct"
    )
    assert parsed(f"--flagfile={path}") == ({"modalities": ["ct", "pet"], "overwrite": False}, [])
    assert parsed("--flagfile", str(path), "--modalities=mr")[0]["modalities"] == ["mr"]
    assert parsed("--modalities=mr", f"--flagfile={path}")[0]["modalities"] == ["ct", "pet"]
    with pytest.raises(UserError, match="unknown flag --modality"):
        parsed("--modality=ct")  # on the command line another command's flag is a mistake


def test_flagfiles_may_name_flagfiles(tmp_path):
    inner = flagfile(tmp_path, "--output=inner", "--workers=2", name="inner.flags")
    outer = flagfile(tmp_path, f"--flagfile={inner}", "--output=outer")
    assert parsed(f"--flagfile={outer}")[0] == {"output": "outer", "workers": 2}


@pytest.mark.parametrize(
    "line,message",
    [
        ("--modalitis=ct", "unknown flag --modalitis. Meant may be --modalities"),
        ("modalities=ct", "line 1: expected one --flag=value a line"),
        ("--modalities ct", "line 1: expected one --flag=value a line"),
        ("--output", "flag --output has no value"),
        ("--flagfile=none.flags", r"none.flags: expected a flagfile named in .*a.flags"),
    ],
)
def test_mistakes_in_a_flagfile(tmp_path, line, message):
    path = flagfile(tmp_path, line, "--overwrite")
    with pytest.raises(UserError, match=message) as caught:
        parsed(f"--flagfile={path}")
    assert str(path) in caught.value.line


def test_flagfiles_that_cannot_be_read(tmp_path):
    circle = flagfile(tmp_path, f"--flagfile={tmp_path / 'a.flags'}")
    (tmp_path / "b.flags").write_bytes(b"\xff\xfe\xff")
    for path, message in [
        (circle, "includes itself"),
        (tmp_path / "b.flags", "not UTF-8"),
        (tmp_path / "none.flags", "No such file"),
        (tmp_path, "cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            parsed(f"--flagfile={path}")
    with pytest.raises(UserError, match="expected a flagfile"):
        parsed("--flagfile")


@pytest.mark.parametrize("name", commandline.COMMANDS)
def test_help_tells_every_flag_and_loads_no_tensorflow(name):
    program = (
        f"import sys; from semicml_tf import commandline\ntry: commandline.run('{name}', ['--help'])\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'matplotlib', 'SimpleITK') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    values = commandline._flag_values(commandline._command_module(name))
    assert all(f"--{flag}\n" in done.stdout for flag in values) and "--flagfile" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_the_exit_code_and_the_line():
    def run(*arguments):
        command = [sys.executable, "-m", CONVERT, *arguments]
        return subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True)

    done = run("--modalitis=ct")
    expected = "semicml_tf.convert: error: unknown flag --modalitis. Meant may be --modalities.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert run("-h").returncode == 0


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.flags")), ids=lambda path: path.name)
def test_the_committed_flagfiles_are_understood(path):
    assert parsed(f"--flagfile={path}")[0]
    first = path.read_text().splitlines()[:12]
    assert all(any(word in line for line in first) for word in ("Command:", "Hardware:", "Time:", "Score:"))
