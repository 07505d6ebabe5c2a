"""The known methods by name; `--method` takes one or several, trained one after another."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Sequence

from semicml_tf.configuration import Problem
from semicml_tf.methods.settings import MethodSettings


@dataclasses.dataclass(frozen=True)
class Entry:
    """A known method.

    Attributes:
        module: holds its class `Stage`. Imported only when used: a command's help must not wait for TensorFlow.
        help: one line.
        needs_unlabelled: whether a step needs unlabelled slices.
        needs_average: whether, with these settings, it learns from the students' moving averages.
        needs_scores: whether, with these settings, it begins with a choice by validation scores.
    """

    module: str
    help: str
    needs_unlabelled: bool = True
    needs_average: Callable[[MethodSettings], bool] = lambda how: False
    needs_scores: Callable[[MethodSettings], bool] = lambda how: False


METHODS = {
    "supervised": Entry("semicml_tf.methods.supervised", "labelled slices only", needs_unlabelled=False),
    "semi_cml": Entry(
        "semicml_tf.methods.semi_cml",
        "contrastive mutual learning of both modalities (Semi-CML)",
        needs_average=lambda how: how.mse_weight > 0 and how.mse_target == "average",
    ),
    "prel": Entry(
        "semicml_tf.methods.prel",
        "soft pseudo-label re-learning from both teachers, or the better one's (PReL)",
        needs_average=lambda how: how.teacher == "average",
        needs_scores=lambda how: how.teacher_modality == "auto",
    ),
    "mean_teacher": Entry(
        "semicml_tf.methods.mean_teacher", "agree with the own moving average", needs_average=lambda how: True
    ),
    "ua_mt": Entry(
        "semicml_tf.methods.ua_mt", "the same, where that average is certain (UA-MT)", needs_average=lambda how: True
    ),
    "ict": Entry("semicml_tf.methods.ict", "the same, on mixtures of two slices (ICT)", needs_average=lambda how: True),
    "cps": Entry("semicml_tf.methods.cps", "two networks a modality learn from each other's hard labels (CPS)"),
    "cross_modal_cps": Entry(
        "semicml_tf.methods.cross_modal_cps", "the two modalities' networks do (CPS across modalities)"
    ),
    "cct": Entry("semicml_tf.methods.cct", "decoders of perturbed features follow the main one (CCT)"),
    "urpc": Entry("semicml_tf.methods.urpc", "a network's maps at four scales agree (URPC)"),
    "entropy_minimisation": Entry("semicml_tf.methods.entropy_minimisation", "be sure of what is seen"),
    "fixmatch": Entry(
        "semicml_tf.methods.fixmatch", "sure labels of a slice teach its strongly distorted view (FixMatch)"
    ),
    "deep_co_training": Entry("semicml_tf.methods.deep_co_training", "agree with the map of the rotated slice"),
}


def unknown(names: Sequence[str]) -> Problem | None:
    """The problem with the first name that is no method's, or with an empty list; None if there is none."""
    for name in names or ("",):
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            remedy = f"Did you mean --method={near[0]}?" if near else "Correct --method"
            return f"expected methods among {', '.join(METHODS)}, got '{name}'", remedy
    return None


def stage_class(name: str):
    """The method's subclass of `base.Method`."""
    return importlib.import_module(METHODS[name].module).Stage
