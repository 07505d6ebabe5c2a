"""Uncertainty-aware Mean Teacher: the teacher counts only where its noisy passes are certain."""

from __future__ import annotations

from semicml_tf.configuration import option
from semicml_tf.methods.declaration import Declaration, knobs
from semicml_tf.methods.shared_knobs import NoisyAverage, UnlabelledLoss


@knobs("UA-MT")
class UaMtKnobs:
    """The uncertainty of the moving average, estimated by noisy passes."""

    uncertainty_passes: int = option(
        8, "Noisy passes of the moving average. The entropy of their mean is the uncertainty.", low=1, high=100
    )
    uncertainty_dropout: bool = option(True, "Apply dropout in these passes.")
    uncertainty_limit: float = option(
        0.75,
        "Pixels count if their entropy / ln 2 is below this limit. The limit grows to 1 with the weight.",
        low=0.0,
        high=1.0,
    )


METHOD = Declaration(
    "Mean Teacher where the moving average is certain (UA-MT)",
    knobs=(UnlabelledLoss, NoisyAverage, UaMtKnobs),
    needs_average=lambda settings: True,
    needs_dropout=lambda settings: settings.uncertainty_dropout,
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from keras import ops

    from semicml_tf.losses.entropy import certain_squared_difference, pixel_entropy
    from semicml_tf.methods.average_teacher import AverageTeacher
    from semicml_tf.methods.presence import pixels_of, slices_with
    from semicml_tf.networks.sample_noise import seeds_for

    class Stage(AverageTeacher):
        """``L_unl = sum(mask (p - q)^2) / sum(mask)``, sums over the batch.

        The mask is 1 where the entropy of the mean of T passes is below ``(limit + (1 - limit) ramp) ln 2``.
        Yu et al., MICCAI 2019, arXiv 1907.07034.
        """

        def __init__(self, modalities, build, settings, plan, scores):
            super().__init__(modalities, build, settings, plan, scores)
            self.noisy_averages = {
                name: self.noisy(average, dropout=settings.uncertainty_dropout)
                for name, average in self.averages.items()
            }

        def unlabelled_targets(self, batch):
            uncertainties = {f"{name}/uncertainty": self._uncertainty(name, batch) for name in self.modalities}
            return super().unlabelled_targets(batch) | uncertainties

        def _uncertainty(self, name: str, batch):
            """`pixel_entropy` of the mean of all passes, which run as one large batch."""
            passes = range(1, self.settings.uncertainty_passes + 1)
            seeds = seeds_for(f"uncertainty/{name}", batch["seed"])
            maps = self.noisy_averages[name](
                ops.concatenate([batch["image"][name] for _ in passes], axis=0),
                ops.concatenate([seeds + number * 7919 for number in passes], axis=0),
            )
            mean = sum(ops.split(maps, len(passes), axis=0)) / len(passes)
            return pixel_entropy(mean, exclusive=self.spec.exclusive)

        def unlabelled_term(self, maps, targets, batch):
            limit = self.settings.uncertainty_limit
            threshold = limit + (1.0 - limit) * self.ramp()

            def of(name):
                p = maps["unlabelled"][name]
                valid = pixels_of(slices_with(batch.get("present"), name), p)
                return certain_squared_difference(
                    p, targets[name], targets[f"{name}/uncertainty"], threshold, valid=valid
                )

            return sum(of(name) for name in self.modalities)

    return Stage
