"""The job of `semicml_tf.serving.route`: segments one patient with the served models of the patient's modalities."""

from __future__ import annotations

import dataclasses
import pathlib
import sys

from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.inference.inputs import NIFTI_ENDINGS, plain_name
from semicml_tf.inference.segment_files import PredictResult, check_outputs, segment_files
from semicml_tf.serving.route.config import RouteConfig
from semicml_tf.system import atomic_files, json_files, quiet_import
from semicml_tf.system.json_files import Positive

VERSION = 1  # of the JSON file


class _Record(TypedDict):
    route_version: Positive


def route(config: RouteConfig) -> PredictResult:
    """Segments one patient, and writes which models were chosen and why.

    Raises:
        UserError: no model answers, or as in `inference.job.predict`.
    """
    output = _one_output(config.output)
    record = _record(output, config.json)
    from semicml_tf.serving.route import routing

    images = routing.images_of(config.input, config.modality)
    addresses = routing.addresses_of(config.address, images)
    check_outputs(config)
    settings = config.settings()
    quiet_import.tensorflow()
    from semicml_tf.serving.client.remote_failure import RemoteFailure

    def report(line: str) -> None:
        print(f"route: {line}", file=sys.stderr)

    with routing.Router(addresses, strict=config.strict, tell=report, **settings) as router:
        while True:
            used = list(router.models)
            choice = f"route: {router.how} ({router.why})"
            try:
                result = segment_files(
                    {name: [router.models[name]] for name in used},
                    config,
                    paths={name: (images[name],) for name in used},
                    fuse=len(used) > 1,
                )
                break
            except RemoteFailure as error:
                router.go_on_after(error)
        mask = {"path": str(output), **result.facts}
        atomic_files.write_json(record, {"route_version": VERSION, **router.record(images), "mask": mask})
    return dataclasses.replace(result, text=f"{choice}\n{result.text}")


def _one_output(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    if not path.name.endswith((*NIFTI_ENDINGS, ".dcm")):
        raise UserError(
            "expected one patient's mask, .nii, .nii.gz or .dcm", path=path, remedy="Start the command once a patient"
        )
    return path


def _record(mask: pathlib.Path, named: str | None) -> pathlib.Path:
    """The file of the choice; a file with other contents is not replaced."""
    path = pathlib.Path(named) if named else mask.with_name(plain_name(mask).removesuffix(".dcm") + ".json")
    if path.exists():
        try:
            json_files.read(path, _Record, what="the choice of a router")
        except UserError as error:
            raise UserError(
                f"this file is not the choice of a router, and would be replaced ({error.problem})",
                path=path,
                remedy="Name another: --json=FILE",
            ) from error
    return path
