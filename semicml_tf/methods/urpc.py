"""Uncertainty-rectified pyramid consistency: the maps of a network at four scales agree where they are certain."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import AuxiliaryOutputs, UnlabelledLoss

METHOD = Declaration(
    "the maps of a network at four scales agree (URPC)",
    knobs=(UnlabelledLoss, AuxiliaryOutputs),
    needs_features="decoder",
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.pyramid import rectified_consistency
    from semicml_tf.methods.auxiliary import AuxiliarySupervised
    from semicml_tf.methods.presence import pixels_of, slices_with
    from semicml_tf.networks.auxiliary_outputs import scale_heads

    class Stage(AuxiliarySupervised):
        """``L_unl``: see `losses.pyramid.rectified_consistency`. All scales learn from the labels.

        Luo et al., MICCAI 2021, arXiv 2012.07042.
        """

        features = METHOD.needs_features

        def make_companions(self, build):
            def heads(name):
                student = self.students[name]
                return scale_heads(student.parts.decoder, student.spec, student.last_seed, f"{name}_scales")

            return {"scales": {name: heads(name) for name in self.modalities}}

        def unlabelled_term(self, maps, targets, batch):
            def of(name):
                main, others = self.main_and_others(maps["unlabelled"], name)
                valid = pixels_of(slices_with(batch.get("present"), name), main)
                return rectified_consistency([main, *others], exclusive=self.spec.exclusive, valid=valid)

            return sum(of(name) for name in self.modalities)

    return Stage
