"""The known methods by name; `--method` takes one or several, trained one after another."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence

from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A known method.

    Attributes:
        module: holds its class `Stage`. Imported only when used: a command's help must not wait for TensorFlow.
        help: one line.
        needs_unlabelled: whether a step needs unlabelled slices.
    """

    module: str
    help: str
    needs_unlabelled: bool = True


METHODS = {
    "supervised": Entry("semicml_tf.methods.supervised", "labelled slices only; the baseline", needs_unlabelled=False),
    "semi_cml": Entry("semicml_tf.methods.semi_cml", "contrastive mutual learning of both modalities (Semi-CML)"),
    "prel": Entry("semicml_tf.methods.prel", "soft pseudo-label re-learning from the better modality's teacher (PReL)"),
}


def check(names: Sequence[str]) -> None:
    """Raises UserError if a name is unknown or none is given."""
    for name in names or ("",):
        if name not in METHODS:
            raise UserError(f"expected methods among {', '.join(METHODS)}, got '{name}'", remedy="Correct --method")


def stage_class(name: str):
    """The method's subclass of `base.Method`."""
    return importlib.import_module(METHODS[name].module).Stage
