"""Cross pseudo supervision with one network a modality: each learns from the other's hard labels."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import UnlabelledLoss

METHOD = Declaration(
    "the modalities learn from each other's hard labels (cross-modal CPS)",
    knobs=(UnlabelledLoss,),
)


def stage_class():
    """The method as a Keras model. Keras is imported late: `--help` must not wait for it."""
    from semicml_tf.losses.pseudo_labels import cross_pseudo_supervision
    from semicml_tf.methods.semi_supervised import SemiSupervised

    class Stage(SemiSupervised):
        """``L_unl = BCE(p_1, 1[p_2 > 0.5]) + BCE(p_2, 1[p_1 > 0.5])`` of the modalities 1 and 2 of a slice."""

        def unlabelled_term(self, maps, targets, batch):
            return cross_pseudo_supervision(*(maps["unlabelled"][name] for name in self.modalities))

    return Stage
