"""Whether a teacher's soft labels still say anything: shares to log, and what to shout about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

# Labels of less than this share of the labelled windows' foreground teach background.
_LEAST_OF_TRUTH = 1 / 20
# No structure worth a label fills more of a window than this.
_MOST = 0.5
_REMEDY = (
    "train the stage before for more --epochs, start from a better run with --init_from, or let another modality teach "
    "alone (--teachers=better --teacher_modality=NAME)"
)


def shares(q, label) -> dict[str, Any]:
    """Scalars to log of a step.

    Args:
        q: soft labels of the unlabelled windows, (batch, h, w, 1).
        label: annotators' masks of the labelled windows, (batch, h, w, 1), 0 or 1.

    Returns:
        ``label_foreground``: share of pixels with q >= 0.5; ``label_mass``: mean of q; ``truth_foreground``: the share
        in the labelled windows, which may be drawn nearer to lesions (`lesion_fraction`).
    """
    return {
        "label_foreground": ops.mean(ops.cast(q >= 0.5, "float32")),
        "label_mass": ops.mean(q),
        "truth_foreground": ops.mean(ops.cast(label, "float32")),
    }


def alarms(means: Mapping[str, float]) -> list[str]:
    """What is wrong with an epoch's labels, a line each, from the epoch's means of `shares`."""
    drawn, true = means["label_foreground"], means["truth_foreground"]
    if drawn == 0:
        return [f"the teacher's labels hold no foreground at all: it has collapsed to empty masks; {_REMEDY}"]
    if drawn < _LEAST_OF_TRUTH * true:
        return [
            f"the teacher's labels hold {drawn:.3%} foreground, less than 1/20 of the labelled windows' {true:.3%}: it "
            f"has nearly collapsed to empty masks; {_REMEDY}"
        ]
    if drawn > _MOST:
        return [
            f"the teacher's labels call {drawn:.0%} of all pixels foreground (labelled windows: {true:.1%}): it has "
            f"collapsed to full masks; {_REMEDY}"
        ]
    return []
