"""Reads the ML Metadata store of a pipeline without TFX."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from semicml_tf.errors import UserError

# Status by ml_metadata.proto.metadata_store_pb2.Execution.State, after the end of a run. RUNNING is a failure, because
# TFX does not record the end of an execution whose driver fails.
STATES = {"COMPLETE": "ran", "CACHED": "from cache", "FAILED": "failed", "RUNNING": "failed"}


def open_store(path: str | os.PathLike):
    """Opens the store in a SQLite file.

    Raises:
        UserError: the file does not exist, or is no metadata store.
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


def properties(node) -> dict[str, Any]:
    """Properties and custom properties of an artefact or an execution, as plain values."""
    both = {**node.properties, **node.custom_properties}
    return {
        name: getattr(value, value.WhichOneof("value")) for name, value in both.items() if value.WhichOneof("value")
    }


def node_of(store, execution_id: int) -> str:
    """Name of the component of an execution."""
    for context in store.get_contexts_by_execution(execution_id):
        if context.type == "node":
            return context.name.partition(".")[2]
    return "unknown"


@dataclasses.dataclass(frozen=True)
class Row:
    """The result of a component in a run.

    Attributes:
        component: name of the component.
        status: a value of `STATES`, "looked up" or "not reached".
        seconds: duration.
        said: a short message, e.g. about publication.
    """

    component: str
    status: str
    seconds: float = 0.0
    said: str = ""


def latest_run(store, pipeline: str, after: int = 0) -> tuple[str, list[Row]]:
    """Name and rows of the newest run, in the order of execution; ("", []) if there is no run.

    Args:
        store: the metadata store.
        pipeline: name of the pipeline.
        after: id of the run before; 0 for none.
    """
    context = _newest(store, pipeline)
    if context is None or context.id <= after:
        return "", []
    rows = []
    for execution in sorted(store.get_executions_by_context(context.id), key=lambda item: item.id):
        state = STATES.get(execution.State.Name(execution.last_known_state), "unknown")
        if execution.type.endswith(".Resolver") and state == "ran":
            state = "looked up"  # resolvers are never cached
        seconds = (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000.0
        node = node_of(store, execution.id)
        rows.append(Row(node, state, seconds, _message(store, execution.id)))
    return context.name, rows


def newest_run_id(store, pipeline: str) -> int:
    """Context id of the newest run; 0 if there is no run."""
    context = _newest(store, pipeline)
    return context.id if context else 0


def _newest(store, pipeline: str):
    parent = store.get_context_by_type_and_name("pipeline", pipeline)
    if parent is None:
        return None
    children = store.get_children_contexts_by_context(parent.id)
    runs = [context for context in children if context.type == "pipeline_run"]
    return max(runs, key=lambda context: context.id, default=None)


def outputs_of(store, execution_ids: list[int]) -> list:
    """The output artefacts of executions."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_execution_ids(execution_ids)
    ids = {event.artifact_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT}
    return store.get_artifacts_by_id(sorted(ids)) if ids else []


def _message(store, execution_id: int) -> str:
    messages = []
    for artefact in outputs_of(store, [execution_id]):
        values = properties(artefact)
        if artefact.type == "ModelBlessing":
            messages.append("blessed" if values.get("blessed") else f"not blessed: {values.get('blessing_message')}")
        elif artefact.type == "InfraBlessing":
            failed = values.get("failed_checks")
            messages.append("can be served" if values.get("blessed") else f"cannot be served: {failed}")
        elif artefact.type == "PushedModel":
            reason = values.get("reason")
            messages.append(values["pushed_destination"] if values.get("pushed") else f"not published: {reason}")
    return "; ".join(messages)


def producer(store, artefact_id: int):
    """The execution that made an artefact, not those that reused it from the cache. None for imported artefacts."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_artifact_ids([artefact_id])
    ids = [event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT]
    return store.get_executions_by_id([min(ids)])[0] if ids else None


def complete_rows(rows: Sequence[Row], components: Sequence[str]) -> list[Row]:
    """One row per component of the pipeline, in the order of `components`."""
    by_component = {row.component: row for row in rows}
    return [by_component.get(name, Row(name, "not reached")) for name in components]


def table_text(rows: Sequence[Row]) -> str:
    """A table with status, seconds and message of each component."""
    title = "component"
    name = max(len(title), *(len(row.component) for row in rows))
    status = max(len(row.status) for row in rows)
    lines = [f"{title:{name}}  {'':{status}}  {'seconds':>7}"]
    lines += [f"{row.component:{name}}  {row.status:{status}}  {row.seconds:7.1f}  {row.said}".rstrip() for row in rows]
    return "\n".join(lines)


def run_json(run: str, rows: Sequence[Row]) -> dict:
    """The rows as JSON values."""
    return {"run": run, "components": [dataclasses.asdict(row) for row in rows]}
