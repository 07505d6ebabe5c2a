"""The lineage of a published model in a metadata store: its checks, its runs, its teacher and its data."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any, TypeVar

from typing_extensions import NotRequired, TypedDict

from pipelines.acceptance import Verdict
from pipelines.metadata_store import node_of, outputs_of, producer, properties
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.system import json_files

_Schema = TypeVar("_Schema")


class _Dataset(TypedDict):
    partitions: dict[str, list[Any]]
    data_hash: NotRequired[str]


def find(store, manifest: Manifest, version: str):
    """The first artefact that published the version of the manifest; None if the store has none."""
    wanted = (manifest.modality, version, manifest.run_hash, manifest.weights_hash)
    for artefact in sorted(store.get_artifacts_by_type("PushedModel"), key=lambda item: item.id):
        values = properties(artefact)
        published = tuple(values.get(name, "") for name in ("modality", "pushed_version", "run_hash", "weights_hash"))
        if values.get("pushed") and published == wanted:
            return artefact
    return None


def of(store, pushed) -> dict[str, Any]:
    """The origin of a published model, as JSON values by role.

    Args:
        store: the metadata store.
        pushed: the artefact that `find` returned.
    """
    publisher = producer(store, pushed.id)
    published = _inputs(store, publisher)
    body = {"published_by": _step(store, publisher)}
    evaluator, check = (producer(store, published[key].id) for key in ("blessing", "infra_blessing"))
    judged = _inputs(store, evaluator)
    body["evaluation"] = {
        **_step(store, evaluator),
        "folder": published["evaluation"].uri,
        "verdict": _json(pathlib.Path(published["evaluation"].uri) / "verdict.json", Verdict, "a pipeline's verdict"),
        "compared_with": _run(judged["baseline"]) if "baseline" in judged else None,
    }
    body["serving_check"] = {
        **_step(store, check),
        "folder": published["infra_blessing"].uri,
        "passed": bool(properties(published["infra_blessing"]).get("blessed")),
    }
    trainer = producer(store, published["model"].id)
    body["run"] = {**_run(published["model"]), **_step(store, trainer), "flags": properties(trainer).get("flags")}
    trained_on = _inputs(store, trainer)
    if "initial_model" in trained_on:
        first = producer(store, trained_on["initial_model"].id)
        body["teacher"] = {
            **_run(trained_on["initial_model"]),
            **_step(store, first),
            "flags": properties(first).get("flags"),
        }
    outputs = outputs_of(store, [trainer.id])
    labels = [artefact for artefact in outputs if "teacher_run_hash" in properties(artefact)]
    if labels:
        values = properties(labels[0])
        names = ("patients", "label", "teacher_run_hash")
        body["pseudo_labels"] = {"folder": labels[0].uri, **{name: values[name] for name in names}}
    body["data"] = _data(store, trained_on["examples"], trainer)
    return body


def _inputs(store, execution) -> dict[str, Any]:
    """The input artefacts of an execution, by key."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_execution_ids([execution.id])
    inputs = [event for event in events if event.type == metadata_store_pb2.Event.INPUT]
    keys = {event.artifact_id: event.path.steps[0].key for event in inputs}
    return {keys[artefact.id]: artefact for artefact in store.get_artifacts_by_id(sorted(keys))} if keys else {}


def _step(store, execution) -> dict[str, Any]:
    """Component, time and pipeline run of an execution."""
    contexts = store.get_contexts_by_execution(execution.id)
    runs = [context.name for context in contexts if context.type == "pipeline_run"]
    started, ended = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    return {
        "component": node_of(store, execution.id),
        "execution": execution.id,
        "pipeline_run": runs[0] if runs else None,
        "at": datetime.datetime.fromtimestamp(started / 1000.0, datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": round((ended - started) / 1000.0, 1),
    }


def _run(model) -> dict[str, Any]:
    values = properties(model)
    dice = json_files.parse(values["validation_dice"], dict[str, float], what="validation DSC by modality")
    hashes = {name: values[name] for name in ("run_hash", "data_hash")}
    return {"folder": model.uri, **hashes, "validation_dice": dice}


def _data(store, examples, trainer) -> dict[str, Any]:
    values, execution = properties(examples), producer(store, examples.id)
    settings = properties(execution) if execution else {}
    body = _json(pathlib.Path(examples.uri) / "dataset.json", _Dataset, "a converted dataset") or {}
    partitions = {name: len(cases) for name, cases in body.get("partitions", {}).items()}
    return {
        **(_step(store, execution) if execution else {}),
        "folder": examples.uri,
        "data_hash": values.get("data_hash") or body.get("data_hash"),
        "span": values.get("span"),
        "deliveries": settings.get("deliveries"),
        "input_fingerprint": settings.get("input_fingerprint"),
        "cases": partitions,
        "checks": _checks(store, trainer),
    }


def _checks(store, trainer) -> list[dict[str, Any]]:
    """The statistics, schema, anomalies and report of the data, made before the training in the same pipeline run."""
    contexts = store.get_contexts_by_execution(trainer.id)
    runs = [context for context in contexts if context.type == "pipeline_run"]
    executions = store.get_executions_by_context(runs[0].id) if runs else []
    checks = []
    for execution in sorted(executions, key=lambda item: item.id):
        inputs = _inputs(store, execution)
        if execution.id >= trainer.id or not inputs:
            continue
        for artefact in outputs_of(store, [execution.id]):
            if artefact.type != "Model":
                checks.append({"component": node_of(store, execution.id), "folder": artefact.uri})
                if "passed" in properties(artefact):
                    checks[-1]["passed"] = bool(properties(artefact)["passed"])
                if "schema" in inputs:
                    checks[-1]["schema"] = inputs["schema"].uri
    return checks


def _json(path: pathlib.Path, schema: type[_Schema], what: str) -> _Schema | None:
    # The folder may have been deleted, while the store still names it.
    return json_files.read(path, schema, what=what) if path.is_file() else None
