"""Entropy minimisation: the predictions on unlabelled slices become more certain."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import UnlabelledLoss

METHOD = Declaration(
    "the entropy of the maps is minimised",
    knobs=(UnlabelledLoss,),
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.entropy import mean_entropy
    from semicml_tf.methods.semi_supervised import SemiSupervised

    class Stage(SemiSupervised):
        """``L_unl = mean entropy of (p, 1 - p) / ln 2``.

        Grandvalet and Bengio 2004; Vu et al. 2019, arXiv 1811.12833.
        """

        def unlabelled_term(self, maps, targets, batch):
            def of(name):
                values = mean_entropy(maps["unlabelled"][name], exclusive=self.spec.exclusive)
                return self.of_slices_with(batch, name, values)

            return sum(of(name) for name in self.modalities)

    return Stage
