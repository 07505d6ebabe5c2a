"""The teacher of the Semi-CML paper: a moving average of the best models of a student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from semicml_tf.methods.base import Method
from semicml_tf.methods.catalogue import MethodSettings


class PoolTeachers:
    """One teacher per modality, updated by the validation scores of the student.

    From epoch `pool_first_epoch` on, the `pool_size` best scores are kept. At `pool_copy_epoch`, the teacher becomes a
    copy of the student. Later, a score d' that is higher than the lowest score d of the pool replaces d. The trainable
    weights then become ``alpha teacher + (1 - alpha) student`` with ``alpha = min(1 - (d' - d) / d', 0.99)``, as in a
    third-party copy of the Semi-CML script.
    """

    def __init__(self, modalities: Sequence[str], build, settings: MethodSettings):
        self.settings = settings
        self.teachers: dict[str, keras.Model] = {name: build(name) for name in modalities}
        self.scores: dict[str, list[float]] = {name: [] for name in modalities}
        self.copied = False

    def networks(self) -> dict[str, keras.Model]:
        """The teachers by key, for checkpoints."""
        return {f"pool/{name}": teacher for name, teacher in self.teachers.items()}

    def copy_students(self, students: Mapping[str, keras.Model]) -> None:
        """Makes each teacher a copy of its student."""
        for name, teacher in self.teachers.items():
            teacher.set_weights(students[name].get_weights())
        self.copied = True

    def on_validated(self, epoch: int, dice: Mapping[str, float], students: Mapping[str, keras.Model]) -> None:
        """Updates pools and teachers by the scores of an epoch of the run."""
        settings = self.settings
        if epoch < settings.pool_first_epoch:
            return
        if epoch == settings.pool_copy_epoch:
            self.copy_students(students)
        for name, pool in self.scores.items():
            score = float(dice[name])
            if len(pool) < settings.pool_size:
                pool.append(score)
                continue
            lowest = min(pool)
            if score <= lowest:
                continue
            pool[pool.index(lowest)] = score
            if self.copied and epoch > settings.pool_copy_epoch:
                alpha = min(1.0 - (score - lowest) / score, 0.99)
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
    """A stage with pool teachers (`pool`), if the settings ask for them; otherwise `pool` is None.

    Semi-CML updates the pool from its first epochs on, because the teacher of PReL is built from its best students.
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
