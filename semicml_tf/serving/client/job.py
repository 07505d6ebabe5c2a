"""The job of `semicml_tf.serving.client`: segments volumes with a model behind gRPC."""

from __future__ import annotations

import pathlib
import sys

from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
from semicml_tf.artefact.versions import version_folder
from semicml_tf.errors import UserError
from semicml_tf.inference.segment_files import PredictResult, check_outputs, segment_files
from semicml_tf.serving.client.config import ClientConfig
from semicml_tf.system import quiet_import


def predict(config: ClientConfig) -> PredictResult:
    """Segments volumes with a served model.

    Raises:
        UserError: the server cannot be reached or refuses, or as in `inference.job.predict`.
    """
    manifest = None
    if config.manifest:
        manifest = read_manifest(config.manifest, config.model_version)
        check_name(config.model, manifest.modality, config.modality)
    check_outputs(config)
    settings = config.settings() | {"version": config.model_version}
    quiet_import.tensorflow()
    from semicml_tf.serving.client.remote_failure import VersionGone
    from semicml_tf.serving.client.remote_model import RemoteModel

    with RemoteModel(config.address, config.model, manifest, **settings) as model:
        check_name(config.model, model.manifest.modality, config.modality)
        try:
            return segment_files({model.manifest.modality: [model]}, config)
        except VersionGone as error:
            # No file was written: a mask is of one version. With several cases, the error is recorded per case.
            before = model.version
            model.refresh()
            if model.version == before:
                raise
            print(f"{error.problem}: starting again with version {model.version}", file=sys.stderr)
            return segment_files({model.manifest.modality: [model]}, config)


def read_manifest(path: str | pathlib.Path, version: int | None = None) -> Manifest:
    """The manifest of an exported model.

    Args:
        path: of manifest.json, of a version's folder, or of a folder of versions.
        version: of which folder, where `path` holds several; None means the highest.

    Raises:
        UserError: there is none.
    """
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
