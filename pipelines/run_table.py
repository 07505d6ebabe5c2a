"""A run of the pipeline as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipelines.metadata_store import Row


def complete(rows: Sequence[Row], components: Sequence[str]) -> list[Row]:
    """The rows in the pipeline's order, with those that were not reached.

    Args:
        rows: of the metadata store.
        components: all of the pipeline.
    """
    held = {row.component: row for row in rows}
    return [held.get(name, Row(name, "not reached")) for name in components]


def text(rows: Sequence[Row]) -> str:
    """A line a component: what became of it, seconds, what it has to say."""
    title = "component"
    name = max(len(title), *(len(row.component) for row in rows))
    status = max(len(row.status) for row in rows)
    lines = [f"{title:{name}}  {'':{status}}  {'seconds':>7}"]
    lines += [f"{row.component:{name}}  {row.status:{status}}  {row.seconds:7.1f}  {row.said}".rstrip() for row in rows]
    return "\n".join(lines)


def as_json(run: str, rows: Sequence[Row]) -> dict:
    """The same for programs."""
    return {"run": run, "components": [dataclasses.asdict(row) for row in rows]}
