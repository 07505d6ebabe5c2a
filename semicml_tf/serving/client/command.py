"""Segments volumes with a model behind gRPC (TensorFlow Serving's PredictionService).

    python -m semicml_tf.serving.client --address=127.0.0.1:8500 --model=ct in.nii.gz mask.nii.gz
    python -m semicml_tf.serving.client --address=127.0.0.1:8500 --model=ct SERIES mask.nii.gz       # a folder of DICOM

The mask (uint8, 0/1) lies on the input's own grid. What the model expects, its manifest, is asked from the server; no
exported model is needed here. Only slices travel: resampled, normalised, without any identifying header. For research
only, not for clinical use.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from semicml_tf.errors import UserError
from semicml_tf.predict import define_volume_flags, require, segment_files
from semicml_tf.serving.client import remote_flags
from semicml_tf.system import quiet_import

POSITIONAL = ("input", "output")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("address", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=values)
    flags.DEFINE_string("model", None, "Name of the model on the server, e.g. ct.", flag_values=values)
    flags.DEFINE_integer("model_version", None, "Version of the model; the latest if not given.", flag_values=values)
    flags.DEFINE_string(
        "manifest",
        None,
        "The model's manifest.json or exported folder, for servers that do not tell it; else the server is asked.",
        flag_values=values,
    )
    remote_flags.define_flags(values)
    define_volume_flags(values)


def read_manifest(path: str | pathlib.Path, version: int | None = None):
    """The manifest of an exported model.

    Args:
        path: of manifest.json, of a version's folder, or of a folder of versions.
        version: of which folder, where `path` holds several; None means the highest.

    Raises:
        UserError: there is none.
    """
    from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
    from semicml_tf.artefact.versions import version_folder

    path = pathlib.Path(path)
    if path.is_file() or path.suffix == ".json":
        return Manifest.load_file(path)
    numbered = path / str(version)
    folder = version_folder(numbered if version is not None and numbered.is_dir() else path)
    return Manifest.load_file(folder / RELATIVE_PATH)


def check_name(name: str, modality: str, confirmed: str | None) -> None:
    """Refuses a model whose name is not its modality's, unless the modality was named as well.

    Raises:
        UserError: a model 'ct' that reads PET is a server's or a manifest's mistake, and gives a mask as well.
    """
    if name != modality and not confirmed:
        raise UserError(
            f"the model '{name}' is one of modality '{modality}'",
            remedy=f"If that is right, confirm it with --modality={modality}; else correct --model or --manifest",
        )


def main(values: flags.FlagValues) -> None:
    require(values, "address", "model", "input", "output")
    manifest = None
    if values.manifest:
        manifest = read_manifest(values.manifest, values.model_version)
        check_name(values.model, manifest.modality, values.modality)
    settings = remote_flags.settings(values) | {"version": values.model_version}
    quiet_import.tensorflow()
    from semicml_tf.serving.client.remote_failure import VersionGone
    from semicml_tf.serving.client.remote_model import RemoteModel

    with RemoteModel(values.address, values.model, manifest, **settings) as model:
        check_name(values.model, model.manifest.modality, values.modality)
        try:
            segment_files({model.manifest.modality: [model]}, values)
        except VersionGone as error:
            # Nothing was written: a mask is of one version or there is none. Of several cases none gets here.
            before = model.version
            model.refresh()
            if model.version == before:
                raise
            print(f"{error.problem}: starting again with version {model.version}", file=sys.stderr)
            segment_files({model.manifest.modality: [model]}, values)
