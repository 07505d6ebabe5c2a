"""The job of `semicml_tf.predict`: segments volumes with exported models."""

from __future__ import annotations

from semicml_tf.errors import UserError
from semicml_tf.inference.config import PredictConfig
from semicml_tf.inference.exported_model import Model, load
from semicml_tf.inference.inputs import split_names
from semicml_tf.inference.segment_files import PredictResult, check_outputs, segment_files
from semicml_tf.inference.volume import check_modality


def predict(config: PredictConfig) -> PredictResult:
    """Segments volumes with an exported model of their modality, or with several models.

    Raises:
        UserError: a model or an input cannot be read, they do not fit each other, or an output cannot be written.
    """
    check_outputs(config)
    return segment_files(_models(config.model), config, fuse=config.fuse)


def _models(text: str) -> dict[str, list[Model]]:
    """The models of ``--model``, by modality in the order that they are named."""
    models: dict[str, list[Model]] = {}
    for name, path in split_names(text):
        model = load(path)
        check_modality(model.manifest, name)
        models.setdefault(model.manifest.modality, []).append(model)
        if name is None and len(models) > 1:
            raise UserError(
                f"expected models of one modality, got {' and '.join(models)}",
                path=path,
                remedy="Name the modalities: --model=ct=FOLDER,pet=FOLDER",
            )
    return models
