"""Flags, flagfiles and help, as every command has them."""

import errno
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import time

import pytest

from semicml_tf import commandline
from semicml_tf.errors import Interrupted, Terminated, UserError, doing
from semicml_tf.training import stop_request
from tests.support.file_names import any_letters

REPOSITORY = pathlib.Path(__file__).parents[2]
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
        ("--modalitis=ct", "unknown flag --modalitis. Did you mean --modalities"),
        ("--zzzzz=1", "unknown flag --zzzzz. See --help"),
        ("--nomodalities", "nomodalities"),
        ("--cases_per_shard=many", "expected --cases_per_shard to be a whole number of at least 1, got .many"),
        ("--cases_per_shard=0", "expected --cases_per_shard .* got .0"),
        ("--overwrite=maybe", "overwrite=maybe"),
        ("--modalities", "Missing value for flag --modalities"),
    ],
)
def test_mistakes_on_the_command_line(argument, message):
    with pytest.raises(UserError, match=message) as caught:
        parsed(argument)
    assert "\n" not in caught.value.line


@any_letters
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
        ("--modalitis=ct", "unknown flag --modalitis. Did you mean --modalities"),
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
    values = commandline.flags_of(name)
    assert all(f"--{flag}\n" in done.stdout for flag in values) and "--flagfile" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_the_exit_code_and_the_line():
    def run(*arguments):
        command = [sys.executable, "-m", CONVERT, *arguments]
        return subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True)

    done = run("--modalitis=ct")
    expected = "semicml_tf.convert: error: unknown flag --modalitis. Did you mean --modalities?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert run("-h").returncode == 0


def _fails_in_a_block():
    with doing("reading case P01"), doing("never shown"):
        pass
    with doing("reading every case"), doing("reading case P02"):
        raise MemoryError("Unable to allocate 7.28 TiB for an array\nwith more lines")


def _nests():
    return _nests()


def _raises(error):
    def act():
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "code", "line"),
    [
        (
            _fails_in_a_block,
            2,
            r"error: not enough memory \(Unable to allocate 7.28 TiB for an array\), while reading",
        ),
        (_raises(MemoryError()), 2, r"error: not enough memory, while in act of .*test_commandline.py. Check the size"),
        (_nests, 2, "error: the data are nested too deeply, while in _nests of .*test_commandline.py"),
        (
            _raises(OSError(errno.ENOSPC, "No space left on device", "/out/x")),
            2,
            "error: /out/x: .*No space left on",
        ),
        (_raises(KeyboardInterrupt()), 130, "interrupted. Finished cases are kept: the same command continues.$"),
        (_raises(Terminated()), 143, "terminated. Finished cases are kept"),
        (_raises(Interrupted("stopped; saved.", signal.SIGINT)), 130, "stopped; saved.$"),
        (lambda: os.kill(os.getpid(), signal.SIGHUP), 143, "terminated. "),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 130, "interrupted. "),
    ],
)
def test_what_ends_a_command_is_one_line_and_a_code(act, code, line, monkeypatch, capsys):
    monkeypatch.setattr(commandline, "_teardown_aborts", False)
    monkeypatch.setattr(commandline, "_stopped_at", float("-inf"))
    monkeypatch.setattr(commandline, "call", lambda *_: act())
    with pytest.raises(SystemExit) as left:
        commandline.run(CONVERT, [])
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == code and len(lines) == 1
    assert re.match(rf"{CONVERT}: {line}", lines[0])


def test_other_errors_keep_their_traceback(monkeypatch):
    for error in (ValueError("a fault"), OSError(errno.EBADF, "Bad file descriptor")):
        monkeypatch.setattr(commandline, "call", lambda *_, error=error: _raises(error)())
        with pytest.raises(type(error)):
            commandline.run(CONVERT, [])


def test_nobody_reads_the_output():
    program = "from semicml_tf import commandline\ncommandline.call = lambda *_: print('x' * 100000, flush=True)\n"
    program += f"commandline.run('{CONVERT}', [])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


def test_a_training_is_stopped_by_the_first_signal_and_ended_by_a_second_ctrl_c(monkeypatch, capfd):
    now = [100.0]
    monkeypatch.setattr(stop_request.time, "monotonic", lambda: now[0])
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_request.StopRequest() as stop:
        assert not stop.asked
        for seconds, number in ((0, signal.SIGINT), (0.5, signal.SIGINT), (9, signal.SIGTERM)):
            now[0] = 100.0 + seconds
            os.kill(os.getpid(), number)
        assert stop.asked and stop.cause == "stopped by SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert capfd.readouterr().err.count("stopping after this step") == 1
    # Before the first step has ended there is nothing to save.
    with stop_request.StopRequest(has_work=False), pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_a_signal_that_native_code_holds_back_ends_the_process_before_the_first_step(monkeypatch):
    monkeypatch.setattr(stop_request, "_NATIVE_S", 0.0)
    monkeypatch.setattr(stop_request.StopRequest, "_note", lambda *_: None)  # as if it were never called
    ended = queue.Queue()
    with stop_request.StopRequest(has_work=False, end=ended.put) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.get(timeout=60) == signal.SIGTERM
        stop.has_work = True
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.empty()


@pytest.mark.parametrize("flag, rest", [("--dry_run", "Nothing was written."), ("--nodry_run", "with --resume")])
def test_a_dry_run_that_is_interrupted_leaves_nothing_to_resume(monkeypatch, capsys, flag, rest):
    monkeypatch.setattr(commandline, "_teardown_aborts", False)
    monkeypatch.setattr(commandline, "call", lambda *_: _raises(KeyboardInterrupt())())
    with pytest.raises(SystemExit):
        commandline.run("semicml_tf.train", [flag])
    assert rest in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.flags")), ids=lambda path: path.name)
def test_the_committed_flagfiles_are_understood(path):
    assert parsed(f"--flagfile={path}")[0]
    first = path.read_text(encoding="utf-8").splitlines()[:12]
    assert all(any(word in line for line in first) for word in ("Command:", "Hardware:", "Time:", "Score:"))
