"""Segments one volume with a model behind gRPC (TensorFlow Serving's PredictionService).

    python -m serving.client --address=127.0.0.1:8500 --model=ct --input=in.nii.gz --output=mask.nii.gz

The mask (uint8, 0/1) lies on the input's own grid. Only slices travel: resampled, normalised, without
any identifying header. For research only, not for clinical use.
"""

from __future__ import annotations

import pathlib

from absl import flags

from semicml_tf import commandline, quiet_import
from semicml_tf.errors import UserError
from semicml_tf.predict import define_volume_flags, require, segment_files
from serving import tls

POSITIONAL = ("input", "output")


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("address", "127.0.0.1:8500", "HOST:PORT of the server.", flag_values=values)
    flags.DEFINE_string("model", None, "Name of the model on the server, e.g. ct.", flag_values=values)
    flags.DEFINE_integer("model_version", None, "Version of the model; the latest if not given.", flag_values=values)
    flags.DEFINE_string(
        "manifest",
        None,
        "The model's manifest.json or exported folder (default: <models>/<model>).",
        flag_values=values,
    )
    flags.DEFINE_string("models", "models", "Folder of exported models, for the manifest.", flag_values=values)
    flags.DEFINE_float(
        "deadline_s", 60.0, "Time for each call, its retries included.", lower_bound=0.001, flag_values=values
    )
    flags.DEFINE_integer(
        "retries",
        4,
        "Further attempts, with backoff, while the server is unavailable.",
        lower_bound=0,
        flag_values=values,
    )
    tls.define_client_flags(values)
    define_volume_flags(values)


def read_manifest(path: str | pathlib.Path, version: int | None = None):
    """The manifest of an exported model.

    Args:
        path: of manifest.json, of a version's folder, or of a folder of versions.
        version: of which folder, where `path` holds several; None means the highest.

    Raises:
        UserError: there is none.
    """
    from semicml_tf.artefact.load import version_folder
    from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest

    path = pathlib.Path(path)
    if path.is_file() or path.suffix == ".json":
        return Manifest.load_file(path)
    numbered = path / str(version)
    folder = version_folder(numbered if version is not None and numbered.is_dir() else path)
    return Manifest.load_file(folder / RELATIVE_PATH)


def main(values: flags.FlagValues) -> None:
    require(values, "address", "model", "input", "output")
    manifest = read_manifest(values.manifest or pathlib.Path(values.models) / values.model, values.model_version)
    if values.model != manifest.modality and not values.modality:
        # Nothing on the wire tells what a model reads, and the manifest of another gives a mask as well.
        raise UserError(
            f"the model '{values.model}' is used with the manifest of modality '{manifest.modality}'",
            remedy=f"If that is right, confirm it with --modality={manifest.modality}; else correct --manifest",
        )
    credentials = tls.channel_credentials(values)
    quiet_import.tensorflow()
    from serving.remote_model import RemoteModel

    with RemoteModel(
        values.address,
        values.model,
        manifest,
        version=values.model_version,
        deadline_s=values.deadline_s,
        retries=values.retries,
        credentials=credentials,
    ) as model:
        segment_files({manifest.modality: [model]}, values)


if __name__ == "__main__":
    commandline.run("serving.client")
