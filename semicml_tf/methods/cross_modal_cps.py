"""Cross pseudo supervision with one network per modality: each learns from the hard labels of the others."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import UnlabelledLoss

METHOD = Declaration(
    "the modalities learn from each other's hard labels (cross-modal CPS)",
    knobs=(UnlabelledLoss,),
    least_modalities=2,
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.pseudo_labels import cross_pseudo_supervision
    from semicml_tf.methods.modality_pairs import mean_over_pairs
    from semicml_tf.methods.semi_supervised import SemiSupervised

    class Stage(SemiSupervised):
        """``L_unl = BCE(p_1, 1[p_2 > 0.5]) + BCE(p_2, 1[p_1 > 0.5])``, mean over the pairs (1, 2) of modalities."""

        def unlabelled_term(self, maps, targets, batch):
            unlabelled = maps["unlabelled"]

            def mutual(one, other):
                values = cross_pseudo_supervision(unlabelled[one], unlabelled[other], exclusive=self.spec.exclusive)
                return self.of_slices_with(batch, (one, other), values)

            return mean_over_pairs(self.modalities, mutual)

    return Stage
