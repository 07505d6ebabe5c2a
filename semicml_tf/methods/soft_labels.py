"""Soft pseudo-labels: the mean map of noisy passes of a teacher, and the fusion of the maps of several teachers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from semicml_tf.losses.maps import background, one_hot_of_largest, spread
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.evidence_fit import SUREST
from semicml_tf.methods.fitted_fusion import FittedFusion
from semicml_tf.methods.noisy_teacher import NoisyTeacher
from semicml_tf.methods.presence import Present
from semicml_tf.networks.precision import full_precision


def _clipped(p, dtype: str):
    return ops.clip(ops.cast(p, dtype), SUREST, 1.0 - SUREST)


def _log_odds(p, dtype: str):
    p = _clipped(p, dtype)
    return ops.log(p) - ops.log(1.0 - p)


def soft_label(
    maps: Mapping[str, Any],
    thresholds: Mapping[str, Any],
    settings: MethodSettings,
    *,
    exclusive: bool = False,
    present: Present = None,
    fusion: FittedFusion | None = None,
):
    """Fuses the maps of several teachers on the same slices to one label, by ``settings.label_fusion``.

    ``mean``: the mean of the maps.

    ``odds``: ``sigmoid(label_sharpness * sum_m (logit(p_m) - logit(t_m)))``, where t_m is the foreground threshold of
    modality m in validation. The log-odds of independent evidence add up. The thresholds correct for networks that are
    trained with few labels and whose probabilities are too low. For exclusive classes, the log-probabilities of the
    classes and the background are summed, multiplied by ``label_sharpness``, and normalised by a softmax.

    ``fitted``: as ``odds``, with slopes and offsets in the sum; see `FittedFusion`.

    Args:
        maps: probabilities (batch, *space, classes) by modality.
        thresholds: of the probabilities, by modality, a scalar or (classes,). Exclusive classes have none.
        settings: the options of the method.
        exclusive: whether the classes exclude each other.
        present: the slices that have a modality, by modality; None: all slices. A teacher without its modality adds no
            evidence. Without any teacher, the label is arbitrary.
        fusion: the slopes and offsets of ``fitted``; None: the plain sum.

    Returns:
        (batch, *space, classes) float32 in [0, 1], without gradient. With ``pseudo_labels="hard"``, values are 0 or 1:
        q is thresholded at 0.5, or the most probable class is chosen.
    """
    add = _sum if fusion is None else fusion.sum
    if settings.label_fusion == "mean":
        q = _sum(maps, present) / _teachers(maps, present)
    elif exclusive:
        full = full_precision(next(iter(maps.values())).dtype)
        wholes = {name: ops.concatenate([background(p), p], axis=-1) for name, p in maps.items()}
        evidence = add({name: ops.log(_clipped(whole, full)) for name, whole in wholes.items()}, present)
        q = ops.softmax(settings.label_sharpness * evidence, axis=-1)[..., 1:]
    else:
        full = full_precision(next(iter(maps.values())).dtype)
        odds = {name: _log_odds(p, full) - _log_odds(thresholds[name], full) for name, p in maps.items()}
        q = ops.sigmoid(settings.label_sharpness * add(odds, present))
    q = ops.stop_gradient(q)
    if settings.pseudo_labels != "hard":
        return q
    return one_hot_of_largest(q) if exclusive else ops.cast(q >= 0.5, q.dtype)


def confidence(q, *, exclusive: bool = False):
    """Certainty of a label: ``|2 q - 1|``, averaged over regions. 0 if all exclusive classes are equally likely.

    Args:
        q: (batch, ..., classes).
        exclusive: whether the classes exclude each other.

    Returns:
        (batch, ..., 1) in [0, 1], without gradient.
    """
    if exclusive:
        whole = ops.concatenate([background(q), q], axis=-1)
        uniform = 1.0 / whole.shape[-1]
        certain = (ops.max(whole, axis=-1, keepdims=True) - uniform) / (1.0 - uniform)
    else:
        certain = ops.mean(ops.abs(2.0 * q - 1.0), axis=-1, keepdims=True)
    return ops.stop_gradient(certain)


def _sum(values: Mapping[str, Any], present: Present):
    """Sum of values (batch, *space, channels) over the modalities of each slice."""
    if present is None:
        return sum(values.values())
    return sum(value * spread(present[name], value) for name, value in values.items())


def _teachers(maps: Mapping[str, Any], present: Present):
    """The number of teachers of each slice, at least 1."""
    if present is None:
        return len(maps)
    return ops.maximum(sum(spread(present[name], p) for name, p in maps.items()), 1.0)


class SoftLabeller:
    """``q = mean over passes of teacher(x + clip(noise N(0, 1), low, high))``, optionally with dropout.

    Args:
        teacher: the network. Later changes of its weights take effect.
        settings: passes, noise, dropout and batch statistics.
    """

    def __init__(self, teacher: keras.Model, settings: MethodSettings):
        self.settings = settings
        self.teacher = NoisyTeacher(
            teacher,
            noise=settings.teacher_noise,
            low=settings.teacher_noise_low,
            high=settings.teacher_noise_high,
            dropout=settings.teacher_dropout,
            batch_statistics=settings.teacher_batch_statistics,
        )

    def __call__(self, slices, seeds):
        """Maps (batch, *space, classes) of `slices` (batch, *space, channels) by `seeds` (batch,), without gradient."""
        passes = [self.teacher(slices, seeds, number) for number in range(self.settings.teacher_passes)]
        return ops.stop_gradient(sum(passes) / len(passes))
