"""One version of a published model, opened to answer requests."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from semicml_tf.errors import UserError

PROTO = "saved_model.pb"
# The name of the signature that TensorFlow itself adds to every SavedModel, for its own use.
_INTERNAL = "__saved_model_init_op"


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A SavedModel in memory.

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
        from tensorflow.core.protobuf import saved_model_pb2

        try:
            proto = saved_model_pb2.SavedModel.FromString((folder / PROTO).read_bytes())
            loaded = tf.saved_model.load(str(folder))
        except Exception as error:  # of a file cut short TensorFlow raises whatever it stumbles over, IndexError too
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
