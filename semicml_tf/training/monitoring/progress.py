"""What a run prints while it trains: one line on a terminal that changes, else one line per epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from semicml_tf.system import progress

# What matters most comes first: a narrow terminal cuts the end.
_FORMAT = "{desc}: {n_fmt}/{total_fmt} steps |{bar:8}| {remaining} left{postfix}"


def losses_text(means: Mapping[str, float]) -> str:
    """The loss and the terms that it is the sum of, e.g. ``loss 3.21 = supervised 2.10 + asc 1.11``."""
    terms = [f"{name[len('loss_') :]} {value:.2f}" for name, value in means.items() if name.startswith("loss_")]
    return f"loss {means['loss']:.2f}" + (f" = {' + '.join(terms)}" if len(terms) > 1 else "")


class ProgressLine:
    """Epoch, stage, steps, time left, slices a second, the epoch's mean losses, and the last validation's Dice.

    Args:
        total, done: steps of the run, and those that are behind it.
        epochs: of the run.
        silent: print nothing, as workers do that are not the chief.
    """

    def __init__(self, total: int, done: int, epochs: int, *, silent: bool = False):
        self._epochs, self._dice, self._losses = epochs, "", ""
        self._silent = silent
        self._bar = progress.bar(
            total=total,
            initial=done,
            desc="begins",
            bar_format=_FORMAT,
            dynamic_ncols=True,
            disable=silent,
            by_request=True,
        )

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def compiles(self, stage: str) -> None:
        """Says why the first step of a stage takes long."""
        if not self._silent:
            self._bar.write(f"{stage}: compiling the training step, which can take minutes", file=sys.stderr)

    def step(self, epoch: int, stage: str, means: Mapping[str, float], slices_per_second: float) -> None:
        """Takes in a step of an epoch (from 0), with the means of the epoch so far."""
        self._bar.set_description_str(f"epoch {epoch + 1}/{self._epochs} {stage}", refresh=False)
        self._losses = f"{losses_text(means)}, {slices_per_second:.0f} slices/s"
        self._bar.set_postfix_str(self._text, refresh=False)
        self._bar.update()

    def validated(self, dice: Mapping[str, float]) -> None:
        """Takes in a validation's mean Dice by modality."""
        self._dice = "Dice " + " ".join(f"{name} {value:.3f}" for name, value in dice.items())
        self._bar.set_postfix_str(self._text)

    @property
    def _text(self) -> str:
        return ", ".join(filter(None, (self._dice, self._losses)))

    def say(self, text: str) -> None:
        """A line above this one."""
        self._bar.write(text)
