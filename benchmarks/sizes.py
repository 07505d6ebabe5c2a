"""Options that several benchmarks share: the sizes of a training step, and the Python with PyTorch."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

from semicml_tf.configuration import as_list, option
from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSizes:
    """Sizes of a training step: slices, networks and batches."""

    window: int = option(64, "Side of the slices in pixels; a multiple of 16.", low=16)
    width: int = option(16, "Channels of the networks' first level.", low=1)
    labelled: int = option(16, "Labelled slices per step.", low=1)
    unlabelled: int = option(16, "Unlabelled slices per step.", low=2)

    @property
    def slices(self) -> int:
        """All slices of a step."""
        return self.labelled + self.unlabelled

    @property
    def words(self) -> list[str]:
        """The sizes as arguments of `step_of_ours` and `step_of_torch`."""
        return [str(size) for size in (self.window, self.width, self.labelled, self.unlabelled)]


def cube_contradictions(patch: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """What is wrong with a patch whose 3-D networks must have the same strides in both engines: 2 along all axes."""
    if len(patch) != 3 or len(set(patch)) > 1 or patch[0] % 16:
        yield f"expected --patch to be three equal multiples of 16, got {as_list(patch)}", "Correct --patch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchPython:
    """The Python of the competitors that need PyTorch."""

    torch_python: str = option(".venv-torch/bin/python", "Python that has PyTorch and MONAI.", path=True)

    def require_torch(self) -> None:
        """Raises a `UserError` if this Python does not exist."""
        if not pathlib.Path(self.torch_python).exists():
            raise UserError("no such Python", path=self.torch_python, remedy="Run: make .venv-torch/ready")
