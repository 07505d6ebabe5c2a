"""The slopes and offsets by which PReL's teachers count in a fused label, refitted after each validation."""

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
    """``evidence = sum_m slope_m evidence_m + offset``, with numbers for each set of modalities that a slice may have.

    Evidence of regions are the log-odds less those of the threshold. Each region has its own slopes and offset.
    Evidence of exclusive classes are log-probabilities. All classes share the slopes, and each class has an offset;
    that of the background is 0. At first the slopes are 1 and the offsets 0, as in the plain sum.

    Sets of modalities are numbered by bits: bit m of the number says whether the set has modality m.

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
        """The weighted sum of the modalities' evidence.

        Args:
            evidence: by modality, (batch, ..., channels); of exclusive classes, the first channel is the background.
            present: the slices that have a modality, by modality; None: all of them.
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
        """Fits each set of modalities to the `samples` of patients who have all of its modalities; drops the samples.

        Args:
            thresholds: by modality, as `soft_labels.soft_label` takes them.

        Returns:
            The numbers for `assign`, which takes them over.
        """
        samples, self.samples = self.samples, Samples(self.modalities)
        slopes, offsets = np.ones(self.slopes.shape), np.zeros(self.offsets.shape)
        classes = offsets.shape[-1]
        cuts = np.zeros((len(self.modalities), classes))
        if not self._exclusive:
            chosen = [np.broadcast_to(ops.convert_to_numpy(thresholds[name]), classes) for name in self.modalities]
            chosen = np.clip(np.stack(chosen).astype(np.float64), SUREST, 1.0 - SUREST)
            cuts = np.log(chosen) - np.log(1.0 - chosen)
        problems = [slice(None)] if self._exclusive else [slice(one, one + 1) for one in range(classes)]
        for number in range(1, len(slopes)):
            members = [one for one in range(len(self.modalities)) if number >> one & 1]
            for problem, own in enumerate(problems):
                fitted = samples.fit(problem, members, cuts[:, own], self._deviation)
                slopes[number, members, problem], offsets[number, own] = fitted
        return [*slopes.ravel().tolist(), *offsets.ravel().tolist()]

    def assign(self, numbers: Sequence[float]) -> None:
        """Takes over the numbers that `fit` has returned."""
        slopes, offsets = np.split(np.asarray(numbers, np.float64), [np.prod(self.slopes.shape)])
        self.slopes.assign(slopes.reshape(self.slopes.shape))
        self.offsets.assign(offsets.reshape(self.offsets.shape))

    def columns(self, names: Sequence[str]) -> dict[str, float]:
        """Columns of the history, for patients who have all modalities: ``slope_MODALITY`` and ``offset``.

        Args:
            names: of the classes. With several classes, a name follows where each class has its own number.
        """

        def of_classes(beginning: str, values: np.ndarray) -> dict[str, float]:
            several = len(values) > 1
            return {f"{beginning}_{one}" if several else beginning: float(v) for one, v in zip(names, values)}

        slopes, offsets = (ops.convert_to_numpy(values)[-1] for values in (self.slopes, self.offsets))
        of_modalities = [of_classes(f"slope_{name}", own) for name, own in zip(self.modalities, slopes)]
        return {key: value for own in (*of_modalities, of_classes("offset", offsets)) for key, value in own.items()}

    def state(self) -> State:
        """JSON values for a checkpoint."""
        return {
            "slopes": ops.convert_to_numpy(self.slopes).tolist(),
            "offsets": ops.convert_to_numpy(self.offsets).tolist(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`.

        Raises:
            ValueError, KeyError: the state is not of these modalities and classes.
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
        """Restores what `save` wrote.

        Raises:
            UserError: the file cannot be read, or is of other modalities or classes.
        """
        try:
            with npz_files.Arrays(path) as stored:
                self.restore({name: stored[name] for name in ("slopes", "offsets")})
        except npz_files.BROKEN as error:
            problem = f"expected the fitted slopes of a run's teachers ({error})"
            raise UserError(problem, path=path, remedy="Train the run again") from error
