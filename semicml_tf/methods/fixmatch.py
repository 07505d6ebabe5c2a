"""FixMatch: where a student is sure of a slice as it came, it learns the same of a strongly distorted view."""

from __future__ import annotations

from semicml_tf.losses.pseudo_labels import confident_cross_entropy
from semicml_tf.methods.semi_supervised import SemiSupervised
from semicml_tf.methods.strong_view import strong_view
from semicml_tf.networks.sample_noise import seeds_for


class Stage(SemiSupervised):
    """``L_unl = mean over pixels of [max(q, 1 - q) > 0.8] BCE(p(strong(x)), 1[q > 0.5])``, q = p(x) without gradient.

    Sohn et al., NeurIPS 2020, arXiv 2001.07685. The weak view is the window as the input yields it.
    """

    passing_views = ("strong",)

    def unlabelled_views(self, batch):
        strength = self.settings.strong_view
        strong = {
            name: strong_view(image, seeds_for(f"strong/{name}", batch["seed"]), strength)
            for name, image in batch["image"].items()
        }
        return {"unlabelled": batch, "strong": {"image": strong, "seed": batch["seed"]}}

    def unlabelled_term(self, maps, targets, batch):
        return sum(
            confident_cross_entropy(maps["strong"][name], maps["unlabelled"][name], self.settings.confidence)
            for name in self.modalities
        )
