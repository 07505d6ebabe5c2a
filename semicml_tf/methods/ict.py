"""Interpolation consistency: the map of a mixture of slices agrees with the mixture of the teacher's maps."""

from __future__ import annotations

from semicml_tf.configuration import option
from semicml_tf.methods.declaration import Declaration, knobs
from semicml_tf.methods.shared_knobs import UnlabelledLoss


@knobs("ICT")
class IctKnobs:
    """The distribution of mixing weights."""

    mixup_alpha: float = option(0.2, "Slices are mixed with weights drawn from Beta(alpha, alpha).", low=0.01, high=1.0)


METHOD = Declaration(
    "Mean Teacher on mixtures of two slices (ICT)",
    knobs=(UnlabelledLoss, IctKnobs),
    needs_average=lambda settings: True,
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.consistency import squared_difference
    from semicml_tf.methods.presence import counted, slices_with
    from semicml_tf.methods.semi_supervised import SemiSupervised
    from semicml_tf.methods.views import mixed, partners
    from semicml_tf.networks.sample_noise import seeds_for, symmetric_beta

    class Stage(SemiSupervised):
        """``L_unl = mean (p(mix(x)) - mix(teacher(x)))^2``, shares from Beta(0.2, 0.2).

        Verma et al., IJCAI 2019, arXiv 1903.03825. The students see mixed slices instead of the unlabelled
        slices. Partners come from the global batch.
        """

        def _share(self, batch):
            return symmetric_beta(seeds_for("mixup", batch["seed"]), self.settings.mixup_alpha, salt=0)

        def unlabelled_views(self, batch):
            images = {name: mixed(image, self._share(batch)) for name, image in batch["image"].items()}
            return {"mixed": {"image": images, "seed": batch["seed"]}}

        def unlabelled_targets(self, batch):
            return {name: average(batch["image"][name], training=False) for name, average in self.averages.items()}

        def unlabelled_term(self, maps, targets, batch):
            share = self._share(batch)

            def of(name):
                values = squared_difference(maps["mixed"][name], mixed(targets[name], share))
                slices = slices_with(batch.get("present"), name)
                # Both slices of a mixture need the modality.
                return counted(values, None if slices is None else slices * partners(slices))

            return sum(of(name) for name in self.modalities)

    return Stage
