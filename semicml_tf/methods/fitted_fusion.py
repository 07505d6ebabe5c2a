"""Slopes and offsets of PReL's teachers in a fused label, fitted after each validation."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.methods.evidence_fit import SUREST, Samples
from semicml_tf.methods.presence import Present
from semicml_tf.system import atomic_files, npz_files


class State(TypedDict):
    """`FittedFusion.state` as JSON."""

    slopes: list[list[list[float]]]
    offsets: list[list[float]]


class FittedFusion:
    """``evidence = sum_m slope_m evidence_m + offset``, fitted for each set of modalities that a slice may have.

    The evidence of a region is its log-odds minus the log-odds of the threshold. Each region has its own slopes and
    offset. The evidence of exclusive classes is the log-probability. All classes share the slopes, and each class has
    an offset, which is 0 for the background. Initially, slopes are 1 and offsets are 0, as in the plain sum.

    Sets of modalities are numbered by bits: bit m is 1 if the set has modality m.

    Args:
        modalities: of the teachers.
        classes: number of the classes, without the background.
        exclusive: whether the classes exclude each other.
        deviation: standard deviation of the prior; see `evidence_fit.regression`.

    Attributes:
        samples: of the last validation, until `fit` reads them.
    """

    def __init__(self, modalities: Sequence[str], classes: int, exclusive: bool, deviation: float):
        self.modalities, self._exclusive, self._deviation = tuple(modalities), exclusive, deviation
        self.samples = Samples(modalities)
        sets, shared = 2 ** len(self.modalities), 1 if exclusive else classes
        # Variables, so that the compiled step reads the last fit.
        self.slopes = keras.Variable(
            np.ones((sets, len(self.modalities), shared)), trainable=False, dtype="float32", name="fusion_slopes"
        )
        self.offsets = keras.Variable(
            np.zeros((sets, classes)), trainable=False, dtype="float32", name="fusion_offsets"
        )

    def sum(self, evidence: Mapping[str, Any], present: Present):
        """The weighted sum of the evidence of all modalities.

        Args:
            evidence: by modality, (batch, ..., channels). For exclusive classes, the first channel is the background.
            present: the slices that have a modality, by modality; None: all slices.
        """
        numbers = {name: number for number, name in enumerate(self.modalities) if name in evidence}
        if present is None:
            sets = ops.convert_to_tensor([sum(1 << number for number in numbers.values())], "int32")
        else:
            sets = sum(ops.cast(present[name], "int32") * (1 << number) for name, number in numbers.items())
        slopes, offsets = ops.take(self.slopes, sets, axis=0), ops.take(self.offsets, sets, axis=0)
        if self._exclusive:
            offsets = ops.pad(offsets, ((0, 0), (1, 0)))

        def spread(values, like):
            return ops.cast(ops.reshape(values, (-1, *(1,) * (len(like.shape) - 2), values.shape[-1])), like.dtype)

        total = 0.0
        for name, value in evidence.items():
            value = value * spread(slopes[:, numbers[name]], value)
            total = total + (value if present is None else value * spread(present[name][:, np.newaxis], value))
        return total + spread(offsets, total)

    def fit(self, thresholds: Mapping[str, Any]) -> list[float]:
        """Fits each set of modalities to the samples of patients with all of its modalities. Clears the samples.

        Args:
            thresholds: by modality, as in `soft_labels.soft_label`.

        Returns:
            Slopes and offsets as numbers for `assign`.
        """
        samples, self.samples = self.samples, Samples(self.modalities)
        slopes, offsets = np.ones(self.slopes.shape), np.zeros(self.offsets.shape)
        classes = offsets.shape[-1]
        cuts = np.zeros((len(self.modalities), classes))
        if not self._exclusive:
            values = [np.broadcast_to(ops.convert_to_numpy(thresholds[name]), classes) for name in self.modalities]
            values = np.clip(np.stack(values).astype(np.float64), SUREST, 1.0 - SUREST)
            cuts = np.log(values) - np.log(1.0 - values)
        problems = [slice(None)] if self._exclusive else [slice(k, k + 1) for k in range(classes)]
        for number in range(1, len(slopes)):
            members = [m for m in range(len(self.modalities)) if number >> m & 1]
            for problem, group in enumerate(problems):
                fitted = samples.fit(problem, members, cuts[:, group], self._deviation)
                slopes[number, members, problem], offsets[number, group] = fitted
        return [*slopes.ravel().tolist(), *offsets.ravel().tolist()]

    def assign(self, numbers: Sequence[float]) -> None:
        """Sets slopes and offsets to the result of `fit`."""
        slopes, offsets = np.split(np.asarray(numbers, np.float64), [np.prod(self.slopes.shape)])
        self.slopes.assign(slopes.reshape(self.slopes.shape))
        self.offsets.assign(offsets.reshape(self.offsets.shape))

    def columns(self, names: Sequence[str]) -> dict[str, float]:
        """Columns of the history, for patients with all modalities: ``slope_MODALITY`` and ``offset``.

        Args:
            names: of the classes, appended to the columns of values that each class has.
        """

        def of_classes(prefix: str, values: np.ndarray) -> dict[str, float]:
            several = len(values) > 1
            return {f"{prefix}_{name}" if several else prefix: float(v) for name, v in zip(names, values)}

        slopes, offsets = (ops.convert_to_numpy(values)[-1] for values in (self.slopes, self.offsets))
        columns: dict[str, float] = {}
        for name, values in zip(self.modalities, slopes):
            columns |= of_classes(f"slope_{name}", values)
        return columns | of_classes("offset", offsets)

    def state(self) -> State:
        """JSON values for a checkpoint."""
        return {
            "slopes": ops.convert_to_numpy(self.slopes).tolist(),
            "offsets": ops.convert_to_numpy(self.offsets).tolist(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`.

        Raises:
            ValueError, KeyError: the state has other modalities or classes.
        """
        for variable, values in ((self.slopes, state["slopes"]), (self.offsets, state["offsets"])):
            stored = np.asarray(values, np.float32)
            if stored.shape != tuple(variable.shape) or not np.isfinite(stored).all():
                raise ValueError(f"expected {tuple(variable.shape)} finite numbers, got {stored.shape}")
            variable.assign(stored)

    def save(self, path: pathlib.Path) -> None:
        """Writes the state to an npz file."""
        atomic_files.write_file(path, lambda stream: np.savez(stream, **self.state()))

    def load(self, path: pathlib.Path) -> None:
        """Restores the state from the file of `save`.

        Raises:
            UserError: the file cannot be read, or has other modalities or classes.
        """
        try:
            with npz_files.Arrays(path) as stored:
                self.restore({name: stored[name] for name in ("slopes", "offsets")})
        except npz_files.BROKEN as error:
            problem = f"expected a file of fitted slopes and offsets ({error})"
            raise UserError(problem, path=path, remedy="Train the run again") from error
