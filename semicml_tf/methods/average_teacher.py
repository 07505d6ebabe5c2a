"""Base of methods whose students agree with their own moving averages on noisy slices."""

from __future__ import annotations

from semicml_tf.methods.noisy_teacher import NoisyTeacher
from semicml_tf.methods.semi_supervised import SemiSupervised
from semicml_tf.networks.sample_noise import seeds_for


class AverageTeacher(SemiSupervised):
    """The targets are one pass of each moving average on ``x + clip(input_noise N(0, 1), +-2 input_noise)``."""

    def __init__(self, modalities, build, settings, plan, scores):
        super().__init__(modalities, build, settings, plan, scores)
        self.teachers = {name: self.noisy(average) for name, average in self.averages.items()}

    def noisy(self, average, *, dropout: bool = False) -> NoisyTeacher:
        """A moving average as a teacher."""
        noise = self.settings.input_noise
        return NoisyTeacher(average, noise=noise, low=-2.0 * noise, high=2.0 * noise, dropout=dropout)

    def unlabelled_targets(self, batch):
        return {
            name: teacher(batch["image"][name], seeds_for(f"teacher/{name}", batch["seed"]))
            for name, teacher in self.teachers.items()
        }
