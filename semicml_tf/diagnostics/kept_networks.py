"""The networks that a run stores at the end of each stage, and in the last checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from semicml_tf.methods.catalogue import settings_of
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run


@dataclasses.dataclass(frozen=True)
class Kept:
    """The networks at one time of a run.

    Attributes:
        when: description of the time, e.g. ``after semi_cml``.
        stage: number of the stage, from 0.
        networks: `keras.Model` by modality.
    """

    when: str
    stage: int
    networks: dict[str, Any]


def over_time(run: Run, settings: Mapping[str, Any]) -> Iterator[Kept]:
    """Yields the networks at the end of each finished stage, and those of the last checkpoint.

    They are the networks that validation scores: moving averages, or students without averages.

    Args:
        settings: of `run.json`, by flag name.

    Raises:
        UserError: a file is missing or damaged.
    """
    methods = settings["method"]
    for stage in range(len(methods) - 1):
        files = {name: run_folder.stage_weights_file(run.folder, stage, name) for name in run.modalities}
        if all(path.is_file() for path in files.values()):
            yield Kept(
                f"after {methods[stage]}", stage, {name: run.network_of(path, name) for name, path in files.items()}
            )
    kind = "average" if settings_of(settings).ema_decay > 0 else "student"
    path = run_folder.checkpoint_file(run.folder)
    last = {name: run.network_of(path, name, f"network/{kind}/{name}/") for name in run.modalities}
    yield Kept("last checkpoint", len(methods) - 1, last)


def last_epoch(settings: Mapping[str, Any], stage: int) -> int:
    """Number of a stage's last epoch, from 0 over the whole run."""
    return list(itertools.accumulate(settings["epochs"]))[stage] - 1
