"""A pipeline's memory: the ML Metadata store, read without TFX."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from semicml_tf.errors import UserError

# Of ml_metadata.proto.metadata_store_pb2.Execution.State, in words, once a run has ended: TFX publishes no end of an
# execution whose driver fails.
STATES = {"COMPLETE": "ran", "CACHED": "from cache", "FAILED": "failed", "RUNNING": "failed"}


def open_store(path: str | os.PathLike):
    """The store in a SQLite file.

    Raises:
        UserError: there is no such file, or it is no metadata store.
    """
    if not pathlib.Path(path).is_file():
        raise UserError(
            "expected the metadata store of a pipeline, but there is none",
            path=path,
            remedy="Name it with --metadata, or run the pipeline first",
        )
    from ml_metadata import errors
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    try:
        return MetadataStore(config)
    except (errors.StatusError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"this metadata store cannot be read ({reason})", path=path, remedy="Name another") from error


def properties(held) -> dict[str, Any]:
    """An artefact's or an execution's properties of both kinds, as plain values."""
    both = {**held.properties, **held.custom_properties}
    return {
        name: getattr(value, value.WhichOneof("value")) for name, value in both.items() if value.WhichOneof("value")
    }


def node_of(store, execution_id: int) -> str:
    """Name of the component that an execution is of."""
    for context in store.get_contexts_by_execution(execution_id):
        if context.type == "node":
            return context.name.partition(".")[2]
    return "unknown"


@dataclasses.dataclass(frozen=True)
class Row:
    """What became of a component in a run.

    Attributes:
        component: its name.
        status: of `STATES`, "looked up" or "not reached".
        seconds: from its begin to its end.
        said: what it has to tell, in a few words.
    """

    component: str
    status: str
    seconds: float = 0.0
    said: str = ""


def latest_run(store, pipeline: str, after: int = 0) -> tuple[str, list[Row]]:
    """The name and rows of the newest run, which has ended, in the order of its components; nothing if there is none.

    Args:
        pipeline: its name.
        after: id of the newest run before; 0: none.
    """
    context = _newest(store, pipeline)
    if context is None or context.id <= after:
        return "", []
    rows = []
    for execution in sorted(store.get_executions_by_context(context.id), key=lambda one: one.id):
        state = STATES.get(execution.State.Name(execution.last_known_state), "unknown")
        if execution.type.endswith(".Resolver") and state == "ran":
            state = "looked up"  # each time: it is no work that a cache could save
        seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000.0
        node = node_of(store, execution.id)
        rows.append(Row(node, state, seconds, _said(store, execution.id)))
    return context.name, rows


def newest_run_id(store, pipeline: str) -> int:
    """Id of the newest run's context; 0 if there is none."""
    context = _newest(store, pipeline)
    return context.id if context else 0


def _newest(store, pipeline: str):
    parent = store.get_context_by_type_and_name("pipeline", pipeline)
    if parent is None:
        return None
    runs = [one for one in store.get_children_contexts_by_context(parent.id) if one.type == "pipeline_run"]
    return max(runs, key=lambda one: one.id, default=None)


def outputs_of(store, execution_ids: list[int]) -> list:
    """The artefacts that executions left."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_execution_ids(execution_ids)
    ids = {one.artifact_id for one in events if one.type == metadata_store_pb2.Event.OUTPUT}
    return store.get_artifacts_by_id(sorted(ids)) if ids else []


def _said(store, execution_id: int) -> str:
    told = []
    for artefact in outputs_of(store, [execution_id]):
        held = properties(artefact)
        if artefact.type == "ModelBlessing":
            told.append("blessed" if held.get("blessed") else f"not blessed: {held.get('blessing_message')}")
        elif artefact.type == "InfraBlessing":
            told.append("can be served" if held.get("blessed") else f"cannot be served: {held.get('failed_checks')}")
        elif artefact.type == "PushedModel":
            told.append(held["pushed_destination"] if held.get("pushed") else f"not published: {held.get('reason')}")
    return "; ".join(told)


def producer(store, artefact_id: int):
    """The execution that made an artefact; those that took it from the cache came later. None if it was imported."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_artifact_ids([artefact_id])
    made = [one.execution_id for one in events if one.type == metadata_store_pb2.Event.OUTPUT]
    return store.get_executions_by_id([min(made)])[0] if made else None


def complete_rows(rows: Sequence[Row], components: Sequence[str]) -> list[Row]:
    """One row for each component of the pipeline, in the order of `components`."""
    by_component = {row.component: row for row in rows}
    return [by_component.get(name, Row(name, "not reached")) for name in components]


def table_text(rows: Sequence[Row]) -> str:
    """One line for each component: its status, its seconds, its message."""
    title = "component"
    name = max(len(title), *(len(row.component) for row in rows))
    status = max(len(row.status) for row in rows)
    lines = [f"{title:{name}}  {'':{status}}  {'seconds':>7}"]
    lines += [f"{row.component:{name}}  {row.status:{status}}  {row.seconds:7.1f}  {row.said}".rstrip() for row in rows]
    return "\n".join(lines)


def run_json(run: str, rows: Sequence[Row]) -> dict:
    """The rows as JSON values."""
    return {"run": run, "components": [dataclasses.asdict(row) for row in rows]}
