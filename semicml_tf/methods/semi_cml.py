"""Semi-CML: all students learn from the labelled slices, and from each other on the unlabelled slices."""

from __future__ import annotations

from semicml_tf.configuration import option
from semicml_tf.methods.declaration import Declaration, knobs
from semicml_tf.methods.shared_knobs import AscLoss, PoolTeacher


@knobs("Semi-CML")
class SemiCmlKnobs:
    """The squared difference between modalities, and the schedule of the cross-modal terms."""

    mse_weight: float = option(
        0.0, "Weight of the squared difference between the modalities' maps. 0 turns it off.", low=0.0
    )
    mse_weighting: str = option(
        "seen",
        "Slices in the squared difference: all (none), or those in which a modality predicts foreground (seen).",
        choices=("none", "seen"),
    )
    mse_target: str = option(
        "average",
        "Target of the squared difference: the other modality's student, or its moving average.",
        choices=("student", "average"),
    )
    burn_in: float = option(0.4, "Fraction of the stage without cross-modal terms.", low=0.0, high=1.0)
    ramp: float = option(
        0.3, "Fraction of the stage, after the burn-in, in which these terms grow to full weight.", low=0.0, high=1.0
    )
    ramp_epochs: int = option(
        0, "Epochs N over which the MSE weight grows as exp(-5 (1 - epoch/N)^2). 0 uses --ramp instead.", low=0
    )


METHOD = Declaration(
    "contrastive mutual learning of the modalities (Semi-CML)",
    knobs=(AscLoss, PoolTeacher, SemiCmlKnobs),
    least_modalities=2,
    needs_average=lambda settings: settings.mse_weight > 0 and settings.mse_target == "average",
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from keras import ops

    from semicml_tf.losses.asc import asc_loss
    from semicml_tf.losses.consistency import seen_by_either, squared_difference
    from semicml_tf.methods import contrastive_monitor, ramps
    from semicml_tf.methods.modality_pairs import mean_over_pairs
    from semicml_tf.methods.pool_teacher import PooledMethod
    from semicml_tf.methods.presence import counted, slices_with

    class Stage(PooledMethod):
        """``L = sum over m of L_sup,m + asc_weight * L_ASC + w(t) * mse_weight * L_MSE``.

        L_ASC and L_MSE are means over all pairs of modalities. Zhang et al., Medical Image Analysis 83 (2023) 102656,
        by a third-party copy of its training script, which has two modalities. ASC and MSE begin after the burn-in
        and grow by a ramp, so that all networks predict some foreground before they are made to agree.
        """

        def weights_of_terms(self):
            """The weights of ASC and MSE in the current step."""
            settings = self.settings
            asc = mse = ramps.after_burn_in(self.progress(), settings.burn_in, settings.ramp)
            if settings.ramp_epochs:
                epoch = ops.floor(self.progress() * self.plan.steps / self.plan.steps_per_epoch)
                mse = ramps.sigmoid_ramp(epoch / settings.ramp_epochs)
            return settings.asc_weight * asc, settings.mse_weight * mse

        def targets(self, batch):
            """Maps of the moving averages on the unlabelled slices, if they are the targets of MSE."""
            if not (self.settings.mse_weight and self._against_averages):
                return {}
            images = batch["unlabelled"]["image"]
            return {name: average(images[name], training=False) for name, average in self.averages.items()}

        @property
        def silence_remedy(self):
            return "lower --asc_weight and --mse_weight, or raise --burn_in"

        @property
        def _against_averages(self) -> bool:
            return self.settings.mse_target == "average" and bool(self.averages)

        def loss_terms(self, batch, maps, targets):
            settings, unlabelled = self.settings, maps["unlabelled"]
            asc_weight, mse_weight = self.weights_of_terms()
            present = batch["unlabelled"].get("present")

            def contrast(one, other):
                return asc_loss(
                    unlabelled[one],
                    unlabelled[other],
                    batch["unlabelled"]["patient"],
                    temperature=settings.asc_temperature,
                    similarity=settings.asc_similarity,
                    negatives=settings.asc_negatives,
                    empty=settings.asc_empty,
                    slices=slices_with(present, one, other),
                )

            def difference(one, other):
                return self._mean_difference(one, other, unlabelled, targets, slices_with(present, one, other))

            terms = {"supervised": self.supervised_term(batch, maps)}
            if settings.asc_weight:
                terms["asc"] = ops.multiply(asc_weight, mean_over_pairs(self.modalities, contrast))
            if settings.mse_weight:
                terms["mse"] = ops.multiply(mse_weight, mean_over_pairs(self.modalities, difference))
            return terms

        def observations(self, batch, maps, targets):
            maps = {name: maps["unlabelled"][name] for name in self.modalities}
            unlabelled = batch["unlabelled"]
            return contrastive_monitor.scalars(maps, unlabelled["patient"], self.settings, unlabelled.get("present"))

        def _mean_difference(self, one, other, maps, targets, slices):
            if self._against_averages:
                pairs = [(maps[one], targets[other]), (maps[other], targets[one])]
            else:
                pairs = [(maps[one], maps[other])]
            values = []
            for p, q in pairs:
                weight = seen_by_either(p, q) if self.settings.mse_weighting == "seen" else 1.0
                values.append(ops.mean(counted(weight * squared_difference(p, q), slices)))
            return sum(values) / len(values)

    return Stage
