"""Cross pseudo supervision: two networks on the same slices learn from each other's hard labels."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import UnlabelledLoss

METHOD = Declaration(
    "two networks per modality learn from each other's hard labels (CPS)",
    knobs=(UnlabelledLoss,),
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.pseudo_labels import cross_pseudo_supervision
    from semicml_tf.methods.semi_supervised import SemiSupervised

    class Stage(SemiSupervised):
        """``L_unl = BCE(p, 1[p' > 0.5]) + BCE(p', 1[p > 0.5])``, where p' is the map of a second network.

        Chen et al., CVPR 2021, arXiv 2106.01226. Both learn from the labels. The first one is validated and saved.
        """

        def make_companions(self, build):
            return {"second": {name: build(f"{name}_second") for name in self.modalities}}

        def maps_of(self, name, images, seeds):
            second = self.companions["second"][name](images, training=True)
            return super().maps_of(name, images, seeds) | {f"{name}/second": second}

        def unlabelled_term(self, maps, targets, batch):
            maps = maps["unlabelled"]

            def of(name):
                values = cross_pseudo_supervision(maps[name], maps[f"{name}/second"], exclusive=self.spec.exclusive)
                return self.of_slices_with(batch, name, values)

            return sum(of(name) for name in self.modalities)

    return Stage
