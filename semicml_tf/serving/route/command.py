"""Segments one patient with the served models of the modalities that the patient has: ct, pet, or both fused.

    python -m semicml_tf.serving.route --address=127.0.0.1:8500 ct=ct.nii.gz,pet=pet.nii.gz mask.nii.gz
    python -m semicml_tf.serving.route --address=127.0.0.1:8500 ct=ct.nii.gz mask.nii.gz
    python -m semicml_tf.serving.route --address=127.0.0.1:8500 STUDY mask.nii.gz       # a folder of DICOM

Any modality that a model is named after may be given. Of several, registered with each other, the mean of the
probabilities becomes the mask, on the grid of the first. A model that the server does not have or that does not answer
is left out, which is said; --strict makes that an error. Beside the mask a JSON file tells what was chosen and why,
with models, versions and hashes. For research only, not for clinical use.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags
from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.predict import define_volume_flags, require, segment_files
from semicml_tf.serving.client import remote_flags
from semicml_tf.system import atomic_files, json_files, quiet_import
from semicml_tf.system.json_files import Positive

POSITIONAL = ("input", "output")
VERSION = 1  # of the JSON file


class _Record(TypedDict):
    route_version: Positive


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "address",
        "127.0.0.1:8500",
        "HOST:PORT of the server; of several ct=HOST:PORT,pet=HOST:PORT.",
        flag_values=values,
    )
    flags.DEFINE_boolean("strict", False, "Fail rather than do without a model.", flag_values=values)
    flags.DEFINE_string(
        "json", None, "Where to write what was chosen; if not given, beside the mask: mask.json.", flag_values=values
    )
    remote_flags.define_flags(values)
    define_volume_flags(values)


def _one_output(text: str) -> pathlib.Path:
    from semicml_tf.inference.inputs import NIFTI_ENDINGS

    path = pathlib.Path(text)
    if not path.name.endswith((*NIFTI_ENDINGS, ".dcm")):
        raise UserError(
            "expected one patient's mask, .nii, .nii.gz or .dcm", path=path, remedy="Start the command once a patient"
        )
    return path


def _record(mask: pathlib.Path, named: str | None) -> pathlib.Path:
    """Where it is told what was chosen; a file that tells something else is not replaced."""
    from semicml_tf.inference.inputs import plain_name

    path = pathlib.Path(named) if named else mask.with_name(plain_name(mask).removesuffix(".dcm") + ".json")
    if path.exists():
        try:
            json_files.read(path, _Record, what="what a router chose")
        except UserError as error:
            raise UserError(
                f"this file is no router's, and would be replaced ({error.problem})",
                path=path,
                remedy="Name another: --json=FILE",
            ) from error
    return path


def main(values: flags.FlagValues) -> None:
    require(values, "address", "input", "output")
    from semicml_tf.serving.client.remote_failure import RemoteFailure
    from semicml_tf.serving.route import routing

    output = _one_output(values.output)
    record = _record(output, values.json)
    images = routing.images_of(values.input, values.modality)
    addresses = routing.addresses_of(values.address, images)
    settings = remote_flags.settings(values)
    quiet_import.tensorflow()

    def tell(line: str) -> None:
        print(f"route: {line}", file=sys.stderr)

    with routing.Router(addresses, strict=values.strict, tell=tell, **settings) as router:
        while True:
            used = list(router.models)
            print(f"route: {router.how} ({router.why})", flush=True)
            try:
                facts = segment_files(
                    {name: [router.models[name]] for name in used},
                    values,
                    paths={name: (images[name],) for name in used},
                    fuse=len(used) > 1,
                )
                break
            except RemoteFailure as error:
                router.go_on_after(error)
        told = {"route_version": VERSION, **router.record(images), "mask": {"path": str(output), **facts}}
        atomic_files.write_json(record, told)
