"""Learning rates as functions of the step."""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from semicml_tf.methods.catalogue import MethodSettings


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """Where a stage lies in its run.

    Attributes:
        steps: of this stage.
        first_step: of the run, at which this stage begins.
        steps_per_epoch: between two validations.
        rate_factor: on the learning rate, in this stage.
        run_steps: of all stages; 0: this stage is the run.
    """

    steps: int
    first_step: int
    steps_per_epoch: int
    rate_factor: float = 1.0
    run_steps: int = 0


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up, then a cosine over the run, one over each stage (restarts), or drops to a tenth at epochs of the run.

    Called with the optimiser's own count of steps, which begins at 0 in each stage.
    """

    def __init__(self, settings: MethodSettings, plan: StagePlan):
        self.settings, self.plan = settings, plan

    def __call__(self, step):
        how, plan = self.settings, self.plan
        step = ops.cast(step, "float32")
        warm = max(how.lr_warmup_epochs * plan.steps_per_epoch, 1.0)
        if how.lr_schedule in ("cosine", "restarts"):
            restarts = how.lr_schedule == "restarts"
            at, steps = (step, plan.steps) if restarts else (step + plan.first_step, plan.run_steps or plan.steps)
            done = ops.clip((at - warm) / max(steps - warm, 1.0), 0.0, 1.0)
            falling = 0.5 * (1.0 + ops.cos(done * 3.14159265))
            factor = plan.rate_factor if restarts else 1.0
            # Each stage's optimiser begins anew, and warms up.
            return how.learning_rate * factor * ops.minimum((step + 1.0) / warm, 1.0) * falling
        # Drops are counted over the run: a second stage goes on at the rate that the first one reached.
        run_step = step + plan.first_step
        epoch = ops.floor(run_step / plan.steps_per_epoch)
        drops = sum(ops.cast(epoch >= at, "float32") for at in how.lr_drop_epochs)
        return how.learning_rate * ops.minimum((run_step + 1.0) / warm, 1.0) * 0.1**drops
