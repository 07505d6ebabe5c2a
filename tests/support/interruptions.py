"""Runs broken off at a step of this process."""

import os
import signal
from collections.abc import Callable

from semicml_tf.training import trainer as trainers


def told_to_end() -> None:
    """SIGTERM to this process."""
    os.kill(os.getpid(), signal.SIGTERM)


def pressed_ctrl_c() -> None:
    """SIGINT to this process."""
    os.kill(os.getpid(), signal.SIGINT)


def at_step(step: int, act: Callable[[], None], monkeypatch) -> None:
    """Calls `act` once a run has taken so many steps, before it notes what the last one gave."""
    add, seen = trainers.Means.add, []

    def act_and_add(self, terms, where):
        seen.append(where)
        if len(seen) == step:
            act()
        add(self, terms, where)

    monkeypatch.setattr(trainers.Means, "add", act_and_add)
