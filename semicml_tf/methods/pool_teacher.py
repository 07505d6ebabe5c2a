"""The paper's teacher: a moving average of a student's best models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from semicml_tf.methods.base import Method
from semicml_tf.methods.catalogue import MethodSettings


class PoolTeachers:
    """One teacher a modality, fed by that student's validation scores.

    From epoch `pool_first_epoch` the `pool_size` best scores are kept. At `pool_copy_epoch` the teacher
    becomes a copy of the student. Later, when a score d' beats the pool's least score d, it takes d's place
    and with ``alpha = min(1 - (d' - d) / d', 0.99)``: ``teacher <- alpha teacher + (1 - alpha) student``,
    parameters only (the third-party copy of the Semi-CML script).
    """

    def __init__(self, modalities: Sequence[str], build, settings: MethodSettings):
        self.settings = settings
        self.teachers: dict[str, keras.Model] = {name: build(name) for name in modalities}
        self.scores: dict[str, list[float]] = {name: [] for name in modalities}
        self.copied = False

    def networks(self) -> dict[str, keras.Model]:
        """For checkpoints, by key."""
        return {f"pool/{name}": teacher for name, teacher in self.teachers.items()}

    def copy_students(self, students: Mapping[str, keras.Model]) -> None:
        """Makes each teacher a copy of its student."""
        for name, teacher in self.teachers.items():
            teacher.set_weights(students[name].get_weights())
        self.copied = True

    def on_validated(self, epoch: int, dice: Mapping[str, float], students: Mapping[str, keras.Model]) -> None:
        """Takes in the scores of an epoch of the run."""
        how = self.settings
        if epoch < how.pool_first_epoch:
            return
        if epoch == how.pool_copy_epoch:
            self.copy_students(students)
        for name, pool in self.scores.items():
            score = float(dice[name])
            if len(pool) < how.pool_size:
                pool.append(score)
                continue
            least = min(pool)
            if score <= least:
                continue
            pool[pool.index(least)] = score
            if self.copied and epoch > how.pool_copy_epoch:
                alpha = min(1.0 - (score - least) / score, 0.99)
                for variable, goal in zip(self.teachers[name].trainable_variables, students[name].trainable_variables):
                    variable.assign(alpha * variable + (1.0 - alpha) * goal)

    def state(self) -> dict:
        """JSON values for a checkpoint."""
        return {"scores": self.scores, "copied": self.copied}

    def restore(self, state: Mapping) -> None:
        """The inverse of `state`."""
        self.scores = {name: list(values) for name, values in state["scores"].items()}
        self.copied = bool(state["copied"])


class PooledMethod(Method):
    """A stage that feeds, or learns from, the pool teachers where the settings ask for them (`pool`, else None).

    Semi-CML keeps the pool from its first epochs on, because PReL's teacher is made of its best students.
    """

    def __init__(self, modalities, build, settings, plan, scores):
        super().__init__(modalities, build, settings, plan, scores)
        self.pool = PoolTeachers(modalities, build, settings) if settings.teacher == "pool" else None

    def networks(self):
        return super().networks() | (self.pool.networks() if self.pool else {})

    def on_validated(self, epoch, dice, thresholds):
        super().on_validated(epoch, dice, thresholds)
        if self.pool:
            self.pool.on_validated(epoch, dice, self.students)

    def state(self):
        return super().state() | ({"pool": self.pool.state()} if self.pool else {})

    def restore_state(self, state):
        super().restore_state(state)
        if self.pool and "pool" in state:
            self.pool.restore(state["pool"])
