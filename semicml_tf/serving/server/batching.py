"""Calls of several clients answered by one call of the model: joined along axis 0, and their answers split again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.serving import bounds
from semicml_tf.serving.server.served_model import ServedModel


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a signature.

    Attributes:
        model: that it is for.
        signature: name of a signature that the model has.
        inputs: arrays by input name, as the signature declares them.
    """

    model: ServedModel
    signature: str
    inputs: Mapping[str, np.ndarray]

    def slices(self) -> int | None:
        """How many slices it carries, or None where it cannot be joined with others.

        It can where every tensor of the signature has a free batch axis first and all inputs are equally long.
        """
        try:
            return bounds.rows(self.model.signature_defs[self.signature], self.inputs) or None
        except ValueError:
            return None

    def alone(self) -> dict[str, np.ndarray] | Exception:
        """Its outputs by name, or what the model raised."""
        try:
            return self.model.call(self.signature, self.inputs)
        except Exception as error:
            return error

    def _kind(self) -> tuple:
        """Equal for calls that one call can answer."""
        tensors = sorted((name, value.shape[1:], value.dtype.str) for name, value in self.inputs.items())
        return id(self.model), self.signature, tuple(tensors)


def answer(calls: Sequence[Call]) -> list[dict[str, np.ndarray] | Exception]:
    """Answers calls, those of one kind by one call of the model.

    Floats may differ in their last bits from those of a call alone: sums over other batch sizes are ordered otherwise.

    Returns:
        For each call its outputs by name, or the exception that it alone raises.
    """
    kinds: dict[object, list[int]] = {}
    for index, call in enumerate(calls):
        # What cannot be joined is a kind of its own.
        kinds.setdefault(call._kind() if call.slices() else index, []).append(index)
    found: list = [None] * len(calls)
    for indices in kinds.values():
        for index, outputs in zip(indices, _together([calls[index] for index in indices])):
            found[index] = outputs
    return found


def _together(calls: list[Call]) -> list[dict[str, np.ndarray] | Exception]:
    if len(calls) > 1:
        ends = np.cumsum([call.slices() for call in calls])
        first = calls[0]
        joined = {name: np.concatenate([call.inputs[name] for call in calls]) for name in first.inputs}
        outputs = Call(first.model, first.signature, joined).alone()
        if not isinstance(outputs, Exception) and all(len(value) == ends[-1] for value in outputs.values()):
            parts = {name: np.split(value, ends[:-1]) for name, value in outputs.items()}
            return [{name: parts[name][index] for name in parts} for index in range(len(calls))]
    # One by one, too, where all together failed: who is to blame is told so, and nobody else.
    return [call.alone() for call in calls]
