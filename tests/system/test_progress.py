"""What progress bars write where stderr is no terminal."""

import io

import pytest

from semicml_tf.system import progress


def test_without_a_terminal_a_short_bar_writes_nothing_and_a_long_one_lines(monkeypatch):
    stream = io.StringIO()
    list(progress.bar(range(3), desc="scoring", file=stream))
    assert stream.getvalue() == ""
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    list(progress.bar(range(3), desc="scoring", file=stream))
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue() and stream.getvalue().endswith("\n")
    assert lines[0].startswith("scoring:   0%") and lines[-1].startswith("scoring: 100%")


def test_output_after_an_interrupted_bar_starts_on_a_new_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)

    def fails():
        for _ in progress.bar(range(3), desc="scoring", file=stream):
            raise ValueError

    with pytest.raises(ValueError):  # the traceback keeps the bar alive
        fails()
    progress.close_all()
    assert stream.getvalue().endswith("\n")
