"""Ramps of the weights of unsupervised terms during a stage."""

from __future__ import annotations

from keras import ops


def sigmoid_ramp(u):
    """``exp(-5 (1 - u)^2)`` with `u` capped to [0, 1] (Laine and Aila 2017, arXiv 1610.02242)."""
    return ops.exp(-5.0 * (1.0 - ops.clip(ops.cast(u, "float32"), 0.0, 1.0)) ** 2)


def after_burn_in(progress, burn_in: float, ramp: float):
    """0 during the burn-in, then the sigmoid ramp, then 1.

    Args:
        progress: completed fraction of the stage, in [0, 1].
        burn_in, ramp: fractions of the stage.
    """
    progress = ops.cast(progress, "float32")
    grown = sigmoid_ramp((progress - burn_in) / ramp) if ramp > 0 else 1.0
    return ops.where(progress >= burn_in, grown, 0.0)
