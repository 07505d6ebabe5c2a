"""Cross-consistency training: auxiliary decoders of perturbed features agree with the main decoder."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import AuxiliaryOutputs, UnlabelledLoss

METHOD = Declaration(
    "auxiliary decoders of perturbed features follow the main decoder (CCT)",
    knobs=(UnlabelledLoss, AuxiliaryOutputs),
    needs_features="encoder",
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from keras import ops

    from semicml_tf.losses.consistency import squared_difference
    from semicml_tf.methods.auxiliary import AuxiliarySupervised
    from semicml_tf.networks.auxiliary_outputs import PERTURBATIONS, perturbed_decoder

    class Stage(AuxiliarySupervised):
        """``L_unl = mean over three auxiliary decoders of mean (p_aux - sg p)^2``, sg stops the gradient.

        Ouali et al., CVPR 2020, arXiv 2003.09005: noise of ± 0.3, dropout of 0.3, and dropout of the strongest
        features. As in the article, the main decoder learns only from labels, and the encoder from both terms. As in
        SSL4MIS, the auxiliary decoders also learn from labels; ``auxiliary_supervised=0`` is the form of the article.
        """

        features = METHOD.needs_features

        def make_companions(self, build):
            def decoder(kind, name):
                # Only the decoder of another network, with other initial weights, is used.
                return perturbed_decoder(kind, build(f"{name}_{kind}"), f"{name}_{kind}_decoder")

            return {kind: {name: decoder(kind, name) for name in self.modalities} for kind in PERTURBATIONS}

        def unlabelled_term(self, maps, targets, batch):
            total = 0.0
            for name in self.modalities:
                main, others = self.main_and_others(maps["unlabelled"], name)
                values = sum(squared_difference(p, ops.stop_gradient(main)) for p in others) / len(others)
                total += self.of_slices_with(batch, name, values)
            return total

    return Stage
