"""The one command ``semicml`` with all others as its sub-commands."""

import pytest

import semicml_tf
from semicml_tf import __main__ as console
from semicml_tf import commandline


def leave(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        console.main(list(arguments))
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


def test_help_has_a_line_for_each_command(capsys):
    code, out, _ = leave(capsys)
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert code == 0 and set(lines) == set(console.COMMANDS) and {"train", "serve", "client", "route"} <= set(lines)
    assert {name for name in commandline.COMMANDS} <= set(console.COMMANDS.values())
    assert all(len(line.split()) > 4 for line in lines.values())
    assert leave(capsys, "--help")[1] == out


def test_a_sub_command_gets_the_other_arguments(capsys, tmp_path):
    code, _, err = leave(capsys, "inspect", str(tmp_path / "none"))
    assert code == 2 and err.startswith("semicml_tf.inspect: error: ") and "no such file" in err
    code, out, _ = leave(capsys, "phantom", "--help")
    assert code == 0 and "--cases" in out


def test_version_and_a_wrong_name(capsys):
    assert leave(capsys, "--version") == (0, f"{semicml_tf.__version__}\n", "")
    code, _, err = leave(capsys, "trian")
    assert (code, err) == (2, "semicml: error: expected a command, got 'trian'. Did you mean train?\n")
