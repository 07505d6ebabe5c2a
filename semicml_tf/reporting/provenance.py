"""Provenance of the numbers: commands, seeds, hashes, settings, versions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from semicml_tf.reporting.markup import Html, block, by_run, code, element, facts, join
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.runs.run_folder import initial_weights_text


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _command(run: RunFacts) -> str | None:
    words = run.record.get("command")
    if not isinstance(words, list) or not words:
        return None
    program = str(words[0])
    first = ["python", "-m", "semicml_tf.train"] if program == "train.py" else [program]
    return shlex.join([*first, *map(str, words[1:])])


def _versions(versions: Any) -> str | None:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else None


def _of_run(run: RunFacts) -> Html:
    metrics, record = run.metrics or {}, run.record
    settings = record.get("settings", {})
    best = [
        f"{name}: {kept.get('stage')}, step {kept.get('step')}, threshold {kept.get('threshold')}"
        for name, kept in (record.get("best") or {}).items()
        if isinstance(kept, dict)
    ]
    known = [
        ("folder", code(run.folder)),
        ("method", run.method),
        ("seed", settings.get("seed")),
        ("labelled patients", run.labelled),
        ("run hash", None if run.masks else code(record.get("run_hash"))),
        ("data hash", code(record.get("data_hash"))),
        ("initial weights", initial_weights_text(record)),
        ("scored on data", code((metrics.get("dataset") or {}).get("data_hash")) if metrics else None),
        ("dataset", None if run.masks else code(record.get("dataset"))),
        ("networks kept", "; ".join(best)),
        ("trained with", _versions(record.get("versions"))),
        ("scored with", _versions(metrics.get("versions"))),
        ("masks", code(run.masks.get("folder", "")) if run.masks else None),
        ("files", len(run.masks["files"]) if run.masks else None),
    ]
    commands = [
        ("Training", _command(run)),
        ("Evaluation", metrics.get("command")),
        ("Report on re-learning", (run.relearning or {}).get("command")),
    ]
    all_settings = "\n".join(f"{name} = {_plain(value)}" for name, value in settings.items())
    return join(
        facts([(name, value) for name, value in known if value not in (None, "")]),
        [join(element("h4", what), block(str(text))) for what, text in commands if text],
        element(
            "details",
            element("summary", "Flagfile: python -m semicml_tf.train --flagfile=FILE --output=NEW_RUN repeats the run"),
            block(run.flags),
        )
        if run.flags
        else None,
        element("details", element("summary", "All settings"), block(all_settings)) if all_settings else None,
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """The provenance of each run."""
    return by_run([(run.name, _of_run(run)) for run in runs])
