"""Learning rates as functions of the step."""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from semicml_tf.methods.catalogue import MethodSettings


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """Position of a stage in its run.

    Attributes:
        steps: number of steps of the stage.
        first_step: step of the run at which the stage begins.
        steps_per_epoch: number of steps between two validations.
        rate_factor: factor on the learning rate in the stage.
        run_steps: number of steps of all stages; 0 if the run has only this stage.
    """

    steps: int
    first_step: int
    steps_per_epoch: int
    rate_factor: float = 1.0
    run_steps: int = 0


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up, then a cosine over the run, a cosine over each stage (restarts), or drops to a tenth at given epochs.

    The step is counted by the optimiser, from 0 in each stage.
    """

    def __init__(self, settings: MethodSettings, plan: StagePlan):
        self.settings, self.plan = settings, plan

    def __call__(self, step):
        settings, plan = self.settings, self.plan
        step = ops.cast(step, "float32")
        warm = max(settings.lr_warmup_epochs * plan.steps_per_epoch, 1.0)
        if settings.lr_schedule in ("cosine", "restarts"):
            restarts = settings.lr_schedule == "restarts"
            at, steps = (step, plan.steps) if restarts else (step + plan.first_step, plan.run_steps or plan.steps)
            done = ops.clip((at - warm) / max(steps - warm, 1.0), 0.0, 1.0)
            falling = 0.5 * (1.0 + ops.cos(done * 3.14159265))
            factor = plan.rate_factor if restarts else 1.0
            # The optimiser of each stage starts with a warm-up.
            return settings.learning_rate * factor * ops.minimum((step + 1.0) / warm, 1.0) * falling
        # Drops are counted over the run: a second stage continues with the rate at the end of the first.
        run_step = step + plan.first_step
        epoch = ops.floor(run_step / plan.steps_per_epoch)
        drops = sum(ops.cast(epoch >= at, "float32") for at in settings.lr_drop_epochs)
        return settings.learning_rate * ops.minimum((run_step + 1.0) / warm, 1.0) * 0.1**drops
