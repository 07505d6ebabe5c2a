"""`python -m semicml_tf.report`: from the command line to the file."""

import html
import shlex

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from tests.support import report_runs

COMMAND = "semicml_tf.report"
DICE = {"ct": {"a": 0.4, "b": 0.6}, "pet": {"a": 0.5, "b": 0.7}}


def _report(*arguments):
    commandline.call(COMMAND, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [report_runs.write(folder / name, DICE) for name in ("one", "two")]


def test_a_run_gets_its_page_beside_it(runs, capsys):
    _report(runs[0])
    made = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert made.startswith("<!DOCTYPE html>") and shlex.quote(f"--run={runs[0]}") in html.unescape(made)
    printed = capsys.readouterr()
    assert str(runs[0] / "report.html") in printed.out and "images of patients" in printed.out and printed.err == ""


def test_several_runs_in_one_page_named_one_after_the_other(runs, tmp_path):
    _report(*runs, "--noimages", f"--output={tmp_path / 'both.html'}")
    made = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "Report: one, two" in made and "<img" not in made
    _report(f"--run={runs[0]}", f"--run={runs[1]}", "--noimages", f"--output={tmp_path / 'flags.html'}")
    assert (tmp_path / "flags.html").read_text(encoding="utf-8").count("Report: one, two") == 2


def test_missing_parts_are_also_printed(tmp_path, capsys):
    folder = report_runs.write(tmp_path / "fresh", {}, evaluated=False)
    _report(folder)
    printed = capsys.readouterr()
    assert "images of patients" not in printed.out
    lines = printed.err.splitlines()
    assert lines == [
        f"{folder}: Not evaluated on 'test': run python -m semicml_tf.evaluate --run={shlex.quote(str(folder))}"
    ]


def test_mistakes_give_one_line_and_leave_the_former_page(runs, tmp_path):
    with pytest.raises(UserError, match="expected --run, which is missing"):
        _report()
    with pytest.raises(UserError, match="expected a run's folder"):
        _report(tmp_path)
    with pytest.raises(UserError, match="passed twice"):
        _report(runs[0], runs[0])
    with pytest.raises(UserError, match="got a folder"):
        _report(runs[0], f"--output={tmp_path}")
    assert not any(tmp_path.iterdir())


def test_a_command_that_takes_one_run_still_refuses_a_second(runs):
    with pytest.raises(UserError, match="unexpected argument"):
        commandline.call("semicml_tf.evaluate", ["a", "b"])


@pytest.mark.parametrize("file", ["metrics.json", "cases/index.json"])
def test_scores_that_cannot_be_read_are_an_error_after_the_page_is_written(tmp_path, file):
    folder = report_runs.write(tmp_path / "run", DICE)
    (folder / "evaluation" / "test" / file).write_text('{"report_version": 99}')
    with pytest.raises(UserError, match=f"{file}: expected .*version") as caught:
        _report(folder)
    assert (folder / "report.html").exists() and "\n" not in caught.value.line
