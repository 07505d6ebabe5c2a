"""The way back through a metadata store: from what was published to the data, over what each step took in."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any, TypeVar

from typing_extensions import NotRequired, TypedDict

from pipelines.acceptance import Verdict
from pipelines.metadata_store import node_of, outputs_of, producer, properties
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.system import json_files

# Of a data part's artefacts, those that are no check.
_NO_CHECK = (
    "Examples",
    "Model",
    "ModelEvaluation",
    "ModelBlessing",
    "InfraBlessing",
    "PushedModel",
    "pipelines.PseudoLabels",
)

_Schema = TypeVar("_Schema")


class _Dataset(TypedDict):
    partitions: dict[str, list[Any]]
    data_hash: NotRequired[str]


def find(store, manifest: Manifest, version: str):
    """The artefact with which the version of that manifest was published first; None if this store knows of none."""
    wanted = (manifest.modality, version, manifest.run_hash, manifest.weights_hash)
    for artefact in sorted(store.get_artifacts_by_type("PushedModel"), key=lambda one: one.id):
        held = properties(artefact)
        told = tuple(held.get(name, "") for name in ("modality", "pushed_version", "run_hash", "weights_hash"))
        if held.get("pushed") and told == wanted:
            return artefact
    return None


def of(store, pushed) -> dict[str, Any]:
    """What made a published model: JSON values by role.

    Args:
        store: the metadata store.
        pushed: what `find` gave.
    """
    publisher = producer(store, pushed.id)
    taken = _inputs(store, publisher)
    body = {"published_by": _step(store, publisher)}
    evaluator, check = (producer(store, taken[key].id) for key in ("blessing", "infra_blessing"))
    judged = _inputs(store, evaluator)
    body["evaluation"] = {
        **_step(store, evaluator),
        "folder": taken["evaluation"].uri,
        "verdict": _json(pathlib.Path(taken["evaluation"].uri) / "verdict.json", Verdict, "a pipeline's verdict"),
        "compared_with": _run(judged["baseline"]) if "baseline" in judged else None,
    }
    body["serving_check"] = {
        **_step(store, check),
        "folder": taken["infra_blessing"].uri,
        "passed": bool(properties(taken["infra_blessing"]).get("blessed")),
    }
    trainer = producer(store, taken["model"].id)
    body["run"] = {**_run(taken["model"]), **_step(store, trainer), "flags": properties(trainer).get("flags")}
    began = _inputs(store, trainer)
    if "initial_model" in began:
        first = producer(store, began["initial_model"].id)
        body["teacher"] = {
            **_run(began["initial_model"]),
            **_step(store, first),
            "flags": properties(first).get("flags"),
        }
    labels = [one for one in outputs_of(store, [trainer.id]) if "teacher_run_hash" in properties(one)]
    if labels:
        held = properties(labels[0])
        names = ("patients", "label", "teacher_run_hash")
        body["pseudo_labels"] = {"folder": labels[0].uri, **{name: held[name] for name in names}}
    body["data"] = _data(store, began["examples"], trainer.id)
    return body


def _inputs(store, execution) -> dict[str, Any]:
    """What an execution took in, by key."""
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_execution_ids([execution.id])
    keys = {one.artifact_id: one.path.steps[0].key for one in events if one.type == metadata_store_pb2.Event.INPUT}
    return {keys[one.id]: one for one in store.get_artifacts_by_id(sorted(keys))} if keys else {}


def _step(store, execution) -> dict[str, Any]:
    """Which component at what time in which run of the pipeline."""
    runs = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type == "pipeline_run"]
    begun, ended = execution.create_time_since_epoch, execution.last_update_time_since_epoch
    return {
        "component": node_of(store, execution.id),
        "execution": execution.id,
        "pipeline_run": runs[0] if runs else None,
        "at": datetime.datetime.fromtimestamp(begun / 1000.0, datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": round((ended - begun) / 1000.0, 1),
    }


def _run(model) -> dict[str, Any]:
    held = properties(model)
    dice = json_files.parse(held["validation_dice"], dict[str, float], what="validation DSC by modality")
    return {"folder": model.uri, "run_hash": held["run_hash"], "data_hash": held["data_hash"], "validation_dice": dice}


def _data(store, examples, trainer: int) -> dict[str, Any]:
    held, maker = properties(examples), producer(store, examples.id)
    told = properties(maker) if maker else {}
    body = _json(pathlib.Path(examples.uri) / "dataset.json", _Dataset, "a converted dataset") or {}
    partitions = {name: len(cases) for name, cases in body.get("partitions", {}).items()}
    return {
        **(_step(store, maker) if maker else {}),
        "folder": examples.uri,
        "data_hash": held.get("data_hash") or body.get("data_hash"),
        "span": held.get("span"),
        "deliveries": told.get("deliveries"),
        "input_fingerprint": told.get("input_fingerprint"),
        "cases": partitions,
        "checks": _checks(store, maker, trainer) if maker else [],
    }


def _checks(store, maker, trainer: int) -> list[dict[str, Any]]:
    """What was made of the data on the side: statistics, schema, anomalies, the delivery's report.

    Of a component that ran several times, as with another curated schema, the last before the trainer's execution.
    """
    from ml_metadata.proto import metadata_store_pb2

    found, seen, waiting = [], set(), [one.id for one in outputs_of(store, [maker.id])]
    while waiting:
        artefact_id = waiting.pop(0)
        events = store.get_events_by_artifact_ids([artefact_id])
        for one in sorted(events, key=lambda event: event.execution_id, reverse=True):
            if one.type != metadata_store_pb2.Event.INPUT or one.execution_id in seen or one.execution_id >= trainer:
                continue
            seen.add(one.execution_id)
            taken = _inputs(store, store.get_executions_by_id([one.execution_id])[0])
            for made in outputs_of(store, [one.execution_id]):
                if made.type in _NO_CHECK:
                    continue
                node = node_of(store, one.execution_id)
                if node not in {held["component"] for held in found}:
                    found.append({"component": node, "folder": made.uri, **_passed(made), **_schema(taken)})
                    waiting.append(made.id)
    return found


def _passed(artefact) -> dict[str, Any]:
    held = properties(artefact)
    return {"passed": bool(held["passed"])} if "passed" in held else {}


def _schema(taken) -> dict[str, Any]:
    """Folder of the curated schema that a component held its cases to."""
    return {"schema": taken["schema"].uri} if "schema" in taken else {}


def _json(path: pathlib.Path, schema: type[_Schema], what: str) -> _Schema | None:
    # A store outlives the folders that it names.
    return json_files.read(path, schema, what=what) if path.is_file() else None
