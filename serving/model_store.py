"""Published models opened for serving: which names, versions and signatures there are."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from semicml_tf.artefact.load import versions
from semicml_tf.errors import UserError

_LOG = logging.getLogger(__name__)
_PROTO = "saved_model.pb"
# The name of the signature that TensorFlow itself adds to every SavedModel, for its own use.
_INTERNAL = "__saved_model_init_op"


class NotServed(LookupError):
    """No such model, or no such version of it."""


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """One version of a model, ready to answer.

    Attributes:
        name: as requests name it.
        version: its number.
        signature_defs: `SignatureDef` protocol buffers by name, as the SavedModel declares them.
        signatures: callables by the same names; tensors by input name -> tensors by output name.
    """

    name: str
    version: int
    signature_defs: Mapping[str, Any]
    signatures: Mapping[str, Any]
    _loaded: Any = dataclasses.field(repr=False)  # keeps the variables alive

    @classmethod
    def open(cls, name: str, version: int, folder: pathlib.Path) -> ServedModel:
        """Loads a SavedModel.

        Raises:
            UserError: it is damaged.
        """
        import tensorflow as tf
        from google.protobuf.message import DecodeError
        from tensorflow.core.protobuf import saved_model_pb2

        try:
            proto = saved_model_pb2.SavedModel.FromString((folder / _PROTO).read_bytes())
            loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, DecodeError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UserError(
                f"this SavedModel is damaged ({reason})", path=folder, remedy="Export it again or remove the folder"
            ) from error
        defs = {key: value for key, value in proto.meta_graphs[0].signature_def.items() if key != _INTERNAL}
        return cls(name, version, defs, dict(loaded.signatures), loaded)

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature on arrays that fit its `SignatureDef`."""
        import tensorflow as tf

        found = self.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}


class ModelStore:
    """The models of a folder: each subfolder that holds numbered versions, by the subfolder's name."""

    def __init__(self, models: Mapping[str, Mapping[int, ServedModel]]):
        self._models = models

    @classmethod
    def open(cls, folder: str | pathlib.Path) -> ModelStore:
        """Loads the highest complete version of every model in `folder`.

        Raises:
            UserError: there is none, or one is damaged.
        """
        folder = pathlib.Path(folder)
        remedy = "Export a run there with python -m semicml_tf.export"
        if not folder.is_dir():
            raise UserError("expected a folder of exported models, but there is none", path=folder, remedy=remedy)
        models = {}
        for entry in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
            numbered = versions(entry)
            complete = {number: path for number, path in numbered.items() if (path / _PROTO).is_file()}
            for number in numbered.keys() - complete.keys():
                _LOG.warning("%s: passed over, it has no %s (half copied?)", numbered[number], _PROTO)
            if complete:
                highest = max(complete)
                models[entry.name] = {highest: ServedModel.open(entry.name, highest, complete[highest])}
        if not models:
            raise UserError("expected exported models <model>/<version>/saved_model.pb", path=folder, remedy=remedy)
        return cls(models)

    def names(self) -> dict[str, list[int]]:
        """The versions served, by model name."""
        return {name: sorted(versions) for name, versions in self._models.items()}

    def versions(self, name: str) -> dict[int, ServedModel]:
        """The versions of a model by number, ascending.

        Raises:
            NotServed: there is no such model.
        """
        if name not in self._models:
            raise NotServed(f"Servable not found for request: Latest({name})")
        return dict(sorted(self._models[name].items()))

    def get(self, name: str, version: int | None = None) -> ServedModel:
        """A version of a model; None means the highest.

        Raises:
            NotServed: there is no such model or version.
        """
        found = self.versions(name)
        number = max(found) if version is None else version
        if number not in found:
            raise NotServed(f"Servable not found for request: Specific({name}, {number})")
        return found[number]
