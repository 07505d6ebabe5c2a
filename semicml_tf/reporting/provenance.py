"""Where the numbers come from: commands, seeds, hashes, settings, versions, and what each number means."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from semicml_tf.reporting import by_run, tables
from semicml_tf.reporting.markup import Html, element, join
from semicml_tf.reporting.run_facts import RunFacts


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _command(run: RunFacts) -> str | None:
    words = run.record.get("command")
    if not isinstance(words, list) or not words:
        return None
    program = str(words[0])
    first = ["python", "-m", "semicml_tf.train"] if program == "train.py" else [program]
    return shlex.join([*first, *map(str, words[1:])])


def _versions(held: Any) -> str | None:
    return ", ".join(f"{name} {version}" for name, version in held.items()) if isinstance(held, dict) else None


def _of_run(run: RunFacts) -> Html:
    metrics, record = run.metrics or {}, run.record
    settings = record.get("settings", {})
    best = [
        f"{name}: {held.get('stage')}, step {held.get('step')}, threshold {held.get('threshold')}"
        for name, held in (record.get("best") or {}).items()
        if isinstance(held, dict)
    ]
    known = [
        ("folder", tables.code(run.folder)),
        ("method", run.method),
        ("seed", settings.get("seed")),
        ("labelled patients", run.labelled),
        ("run hash", tables.code(record.get("run_hash"))),
        ("data hash", tables.code(record.get("data_hash"))),
        ("scored on data", tables.code((metrics.get("dataset") or {}).get("data_hash")) if metrics else None),
        ("dataset", tables.code(record.get("dataset"))),
        ("networks kept", "; ".join(best)),
        ("trained with", _versions(record.get("versions"))),
        ("scored with", _versions(metrics.get("versions"))),
    ]
    commands = [
        ("Training", _command(run)),
        ("Evaluation", metrics.get("command")),
        ("Report on re-learning", (run.relearning or {}).get("command")),
    ]
    every = "\n".join(f"{name} = {_plain(value)}" for name, value in settings.items())
    return join(
        tables.facts([(name, value) for name, value in known if value not in (None, "")]),
        [join(element("h4", what), tables.block(str(text))) for what, text in commands if text],
        element(
            "details",
            element("summary", "Flagfile: python -m semicml_tf.train --flagfile=IT --output=NEW_RUN repeats the run"),
            tables.block(run.flags),
        )
        if run.flags
        else None,
        element("details", element("summary", "All settings"), tables.block(every)) if every else None,
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """What each run was made by."""
    return by_run.parts([(run.name, _of_run(run)) for run in runs])


def policy(runs: Sequence[RunFacts]) -> Html | None:
    """What the numbers mean where a mask is empty, and notes on the evaluations."""
    held = next((run.metrics["policy"] for run in runs if isinstance((run.metrics or {}).get("policy"), dict)), None)
    # What later versions of an evaluation tell of how it measured.
    first = next((run.metrics for run in runs if run.metrics), {})
    measured = [
        ("surface DSC at, mm", first.get("surface_tolerance_mm")),
        ("a failure below DSC", first.get("failure_dice")),
        ("intervals", first.get("intervals")),
    ]
    notes = [(run.name, note) for run in runs for note in (run.metrics or {}).get("notes") or ()]
    if not held and not notes:
        return None
    return join(
        tables.facts([*(held or {}).items(), *(pair for pair in measured if pair[1] is not None)]),
        element("ul", [element("li", f"{name}: {note}") for name, note in notes]) if notes else None,
    )
