"""FixMatch: confident predictions on a slice are labels for a strongly distorted view of the slice."""

from __future__ import annotations

from semicml_tf.configuration import option
from semicml_tf.methods.declaration import Declaration, knobs
from semicml_tf.methods.shared_knobs import UnlabelledLoss


@knobs("FixMatch")
class FixMatchKnobs:
    """The confidence of labels from the weak view, and the strength of the strong view."""

    confidence: float = option(
        0.8,
        "A pixel of the weak view becomes a label if its probability, of either class, exceeds this.",
        low=0.5,
        high=1.0,
    )
    strong_view: float = option(1.0, "Strength of the strong view's distortions.", low=0.0, high=2.0)


METHOD = Declaration(
    "confident labels of a slice teach its strongly distorted view (FixMatch)",
    knobs=(UnlabelledLoss, FixMatchKnobs),
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.pseudo_labels import confident_cross_entropy
    from semicml_tf.methods.semi_supervised import SemiSupervised
    from semicml_tf.methods.views import strong_view
    from semicml_tf.networks.sample_noise import seeds_for

    class Stage(SemiSupervised):
        """``L_unl = mean over pixels of [max(q, 1 - q) > confidence] BCE(p(strong(x)), 1[q > 0.5])``.

        q = p(x) without gradient.
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
            def of(name):
                values = confident_cross_entropy(
                    maps["strong"][name],
                    maps["unlabelled"][name],
                    self.settings.confidence,
                    exclusive=self.spec.exclusive,
                )
                return self.of_slices_with(batch, name, values)

            return sum(of(name) for name in self.modalities)

    return Stage
