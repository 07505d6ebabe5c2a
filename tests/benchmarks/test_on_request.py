"""The calls that each line requests, and their seconds."""

import io
import itertools
import json

from benchmarks.on_request import repeat_on_request


def test_each_line_requests_calls_and_gets_their_seconds(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n0\n"))
    clock, calls = itertools.count(1.0, 0.5).__next__, []
    repeat_on_request({"engine": "x"}, lambda: calls.append(clock()), clock)
    facts, two, none = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts == {"engine": "x"} and len(calls) == 2
    # Each call reads the clock, too.
    assert (two, none) == (1.5, 0.5)
