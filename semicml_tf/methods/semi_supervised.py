"""Base of the semi-supervised baselines: the labelled loss and one unlabelled term with a growing weight."""

from __future__ import annotations

from typing import Any

from keras import ops

from semicml_tf.methods import ramps
from semicml_tf.methods.base import Method
from semicml_tf.methods.presence import counted, slices_with


class SemiSupervised(Method):
    """``L = L_sup + unlabelled_weight exp(-5 (1 - u)^2) L_unl``, each summed over modalities.

    u = min(step / ramp steps, 1). Subclasses define L_unl and, if needed, its views and targets. With
    ``unlabelled_weight=0``, the method is `supervised`, and the networks do not process unlabelled slices.
    """

    def unlabelled_term(self, maps, targets, batch):
        """The unlabelled loss: (batch,), or a scalar if it is coupled over the batch.

        Terms of single networks are summed over modalities. Mutual terms are means over pairs of modalities. A term
        counts only slices that have its modalities; see `of_slices_with`.

        Args:
            maps, targets: as in `loss_terms`.
            batch: the global unlabelled stream.
        """
        raise NotImplementedError

    def unlabelled_views(self, batch) -> dict[str, Any]:
        """Views of the global unlabelled stream as inputs of the networks; see `views`."""
        return {"unlabelled": batch}

    def unlabelled_targets(self, batch) -> dict[str, Any]:
        """Target maps of the unlabelled stream, computed before the step; see `targets`."""
        return {}

    def of_slices_with(self, batch, names, values):
        """Scales values so that their mean over the batch is the mean over the slices with the modalities `names`.

        Args:
            batch: the global unlabelled stream.
            names: one modality or several.
            values: (batch,), of a term.
        """
        names = (names,) if isinstance(names, str) else names
        return counted(values, slices_with(batch.get("present"), *names))

    @property
    def silence_remedy(self):
        return "lower --unlabelled_weight" if self.settings.unlabelled_weight else super().silence_remedy

    def ramp(self):
        """The current factor on the weight, from exp(-5) to 1."""
        share = self.settings.unlabelled_ramp
        return ramps.after_burn_in(self.progress(), burn_in=0.0, ramp=share)

    def views(self, batch):
        more = self.unlabelled_views(batch["unlabelled"]) if self.settings.unlabelled_weight else {}
        return {"labelled": batch["labelled"], **more}

    def targets(self, batch):
        return self.unlabelled_targets(batch["unlabelled"]) if self.settings.unlabelled_weight else {}

    def loss_terms(self, batch, maps, targets):
        terms = {"supervised": self.supervised_term(batch, maps)}
        if self.settings.unlabelled_weight:
            value = ops.mean(self.unlabelled_term(maps, targets, batch["unlabelled"]))
            terms["unlabelled"] = ops.multiply(self.settings.unlabelled_weight * self.ramp(), value)
        return terms
