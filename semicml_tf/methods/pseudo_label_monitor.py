"""The health of a teacher's pseudo-labels: foreground fractions to log, and alarms of a collapse, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from semicml_tf.losses.maps import by_class, masked_mean
from semicml_tf.methods.presence import pixels_of

# With less than this share of the foreground in labelled windows, pseudo-labels teach only background.
_LEAST_OF_TRUTH = 1 / 20
# No annotated structure fills more of a window than this share.
_MOST = 0.5
_REMEDY = (
    "train the previous stage for more --epochs, start from a better run with --init_from, or use only the teacher of "
    "another modality (--teachers=better --teacher_modality=NAME)"
)


def shares(q, label, names: Sequence[str] = ("",), *, valid=None, slices=None) -> dict[str, Any]:
    """Scalars to log of a step.

    Args:
        q: soft labels of the unlabelled windows, (batch, *space, classes).
        label: annotators' masks of the labelled windows, (batch, *space, classes), 0 or 1.
        names: of the classes.
        valid: (batch, *space, 1) 0/1: annotated pixels of the labelled windows; None: all pixels.
        slices: (batch,) 0/1: unlabelled windows that have a soft label; None: all windows.

    Returns:
        ``label_foreground``: fraction of pixels with q >= 0.5; ``label_mass``: mean of q; ``truth_foreground``: the
        fraction in the labelled windows, which may be sampled near lesions (`lesion_fraction`). For several classes,
        the name of the class is appended.
    """
    scalars = {}
    for name, of_class, truth in zip(names, by_class(q), by_class(label)):
        end = f"_{name}" if len(names) > 1 else ""
        truth = ops.cast(truth, "float32")
        scalars |= {
            f"label_foreground{end}": _mean(ops.cast(of_class >= 0.5, "float32"), pixels_of(slices, of_class)),
            f"label_mass{end}": _mean(of_class, pixels_of(slices, of_class)),
            f"truth_foreground{end}": _mean(truth, valid),
        }
    return scalars


def _mean(values, valid):
    return ops.mean(values) if valid is None else masked_mean(values, valid)


def alarms(means: Mapping[str, float], names: Sequence[str] = ("",)) -> list[str]:
    """Problems of the labels of an epoch, a line per class. `means` are the means of `shares` over the epoch."""
    lines = []
    for name in names:
        end, noun = (f"_{name}", name) if len(names) > 1 else ("", "foreground")
        problem = _problem(means[f"label_foreground{end}"], means[f"truth_foreground{end}"], noun)
        lines += [f"{problem}; {_REMEDY}"] if problem else []
    return lines


def _problem(drawn: float, true: float, noun: str) -> str:
    """The problem of the labels of a class; "" for none. `drawn` and `true` are foreground fractions."""
    if drawn == 0:
        return f"the teacher's labels have no {noun} at all: it has collapsed to empty masks"
    if drawn < _LEAST_OF_TRUTH * true:
        return (
            f"the teacher's labels have {drawn:.3%} {noun}, less than 1/20 of the labelled windows' {true:.3%}: it has "
            "nearly collapsed to empty masks"
        )
    if drawn > _MOST:
        return (
            f"the teacher's labels mark {drawn:.0%} of all pixels as {noun} (labelled windows: {true:.1%}): it has "
            "collapsed to full masks"
        )
    return ""
