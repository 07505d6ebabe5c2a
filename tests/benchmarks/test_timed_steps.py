"""Steps run once, and a failed or changed step is one line."""

import json
import sys

import pytest

from benchmarks.timed_steps import TimedSteps
from semicml_tf.errors import UserError

WORK = "import os; sum(range(10**6)); print('did', os.environ['WHAT'])"


def test_a_finished_step_is_skipped(tmp_path):
    command = [sys.executable, "-c", WORK]
    TimedSteps(tmp_path / "out").run("work", command, {"WHAT": "it"})
    log = tmp_path / "out/work.log"
    assert log.read_text() == "did it\n"
    log.unlink()
    again = TimedSteps(tmp_path / "out")
    again.run("work", command, {"WHAT": "it"})
    assert not log.exists() and list(again.done) == ["work"]
    assert again.done["work"]["processor_s"] >= 0 and again.done["work"]["wall_s"] >= 0
    with pytest.raises(UserError, match="the step 'work' was finished by another command"):
        again.run("work", [sys.executable, "-c", "1"])


def test_a_failed_step_is_not_finished_and_names_its_log(tmp_path):
    steps = TimedSteps(tmp_path)
    with pytest.raises(UserError, match="the step 'work' failed with code 3") as caught:
        steps.run("work", [sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    assert (tmp_path / "work.log").read_text() == "why\n" and "work.log" in caught.value.line
    assert not steps.done and not (tmp_path / "steps.json").exists()


@pytest.mark.parametrize("content", ["{}", '{"steps": {"a": 1}}', "[", json.dumps({"steps": {"a": {"command": 1}}})])
def test_a_list_of_steps_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "steps.json").write_text(content)
    with pytest.raises(UserError, match="steps.json"):
        TimedSteps(tmp_path)
