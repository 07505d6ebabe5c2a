"""Prints the lineage of a published model: its data, its teacher, its runs, and their checks.

    python -m pipelines.lineage models/ct/3
    python -m pipelines.lineage models/ct --metadata=OUTPUT/metadata.sqlite --output=lineage.json

Reads the pipeline's metadata store in a folder above the models. Needs ml-metadata, from requirements/tfx.lock.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from pipelines import lineage_graph, metadata_store
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files

POSITIONAL = ("model",)
METADATA_NAME = "metadata.sqlite"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineageConfig:
    """Options of the command."""

    model: str = option(help="Folder of a version, or of a model, whose newest version is used.", path=True)
    metadata: str | None = option(
        None, help=f"The metadata store. The default is {METADATA_NAME} in a folder above the model.", path=True
    )
    output: str | None = option(None, help="JSON file that also gets the lineage.", path=True)

    def __post_init__(self):
        check(self)


CONFIG = LineageConfig


def main(config: LineageConfig) -> None:
    """Prints the lineage of a published model."""
    from semicml_tf.artefact.manifest import Manifest
    from semicml_tf.artefact.versions import version_folder

    folder = version_folder(config.model).absolute()
    manifest = Manifest.load(folder)
    metadata = pathlib.Path(config.metadata) if config.metadata else _beside(folder)
    try:
        store = metadata_store.open_store(metadata)
    except ImportError as error:
        raise UserError(
            f"ml-metadata is not installed ({error})", remedy="Use the environment of requirements/tfx.lock"
        ) from error
    pushed = lineage_graph.find(store, manifest, folder.name)
    if pushed is None:
        raise UserError(
            f"no pipeline of {metadata} has published this model (run {manifest.run_hash[:12]})",
            path=folder,
            remedy="Name the store of its pipeline with --metadata",
        )
    body = lineage_graph.of(store, pushed)
    body["model"] = {
        "folder": str(folder),
        "modality": manifest.modality,
        "version": int(folder.name),
        "run_hash": manifest.run_hash,
        "weights_hash": manifest.weights_hash,
        "data_hash": manifest.data_hash,
        "validation_dice": manifest.validation_dice,
    }
    print(text(body))
    if config.output:
        atomic_files.write_json(config.output, body)


def _beside(folder: pathlib.Path) -> pathlib.Path:
    for above in folder.parents:
        if (above / METADATA_NAME).is_file():
            return above / METADATA_NAME
    raise UserError(
        f"found no {METADATA_NAME} in the folders above", path=folder, remedy="Name the pipeline's with --metadata"
    )


def text(body: Mapping) -> str:
    """The lineage in lines, from the published model back to the data."""
    model, evaluation = body["model"], body["evaluation"]
    lines = [f"{model['folder']}: {model['modality']}, version {model['version']}"]
    lines += [f"  published   {_when(body['published_by'])}"]
    verdict = evaluation["verdict"]
    lines += judged(verdict) if verdict else []
    lines.append(f"              {_when(evaluation)}")
    lines.append(f"              {evaluation['folder']}")
    former = evaluation["compared_with"]
    if former:
        lines.append(f"              beside run {former['run_hash'][:12]}, {former['folder']}")
    serving = body["serving_check"]
    lines.append(f"  served by   {'all checks passed' if serving['passed'] else 'checks failed'}, {_when(serving)}")
    lines += _trained("run", body["run"])
    if "teacher" in body:
        lines += _trained("teacher", body["teacher"])
    if "pseudo_labels" in body:
        labels = body["pseudo_labels"]
        lines.append(
            f"  labels      {labels['patients']} patients, {labels['label']}, by run {labels['teacher_run_hash'][:12]}"
        )
        lines.append(f"              {labels['folder']}")
    data = body["data"]
    cases = ", ".join(f"{name} {count}" for name, count in data["cases"].items())
    span = "" if data["span"] is None else f", deliveries up to span {data['span']}"
    lines.append(f"  data        hash {str(data['data_hash'])[:12]}{span}: {cases}")
    if data["deliveries"]:
        lines.append(f"              from {data['deliveries']}")
    lines.append(f"              {data['folder']}")
    for one in data["checks"]:
        result = {True: ", passed", False: ", did not pass"}.get(one.get("passed"), "")
        lines.append(f"  checked     {one['component']}{result}: {one['folder']}")
        if "schema" in one:
            lines.append(f"              by {one['schema']}")
    return "\n".join(lines)


def judged(verdict: Mapping) -> list[str]:
    """The lines of a verdict."""
    lines = []
    for entry in verdict["checks"]:
        if entry["value"] is not None and entry["bound"] is not None:
            sign = ">=" if entry["passed"] else "<"
            lines.append(f"  judged      {entry['check']}: {entry['value']:.3f} {sign} {entry['bound']:.3f}")
    if verdict["test_dice"] is not None:
        lines.append(f"              mean DSC of test patients: {verdict['test_dice']:.3f} (decided nothing)")
    return lines


def _when(step: Mapping) -> str:
    return f"{step['component']}, {step['at']} ({step['seconds']:g} s), in run {step['pipeline_run']}"


def _trained(role: str, run: Mapping) -> list[str]:
    dice = ", ".join(f"{name} {value:.3f}" for name, value in run["validation_dice"].items())
    return [
        f"  {role:10}  {run['run_hash'][:12]}, validation DSC {dice}",
        f"              {_when(run)}",
        f"              {run['folder']}",
    ]


if __name__ == "__main__":
    commandline.run("pipelines.lineage")
