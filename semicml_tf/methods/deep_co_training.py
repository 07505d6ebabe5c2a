"""Deep co-training by rotation: a student's maps of a slice and of the rotated slice agree."""

from __future__ import annotations

from semicml_tf.errors import UserError
from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import UnlabelledLoss

METHOD = Declaration(
    "the maps of a slice and of its rotated copy agree",
    knobs=(UnlabelledLoss,),
)


def stage_class():
    """The method as a Keras model. Keras is imported late: `--help` must not wait for it."""
    from semicml_tf.losses.consistency import mutual_squared_difference
    from semicml_tf.methods.semi_supervised import SemiSupervised
    from semicml_tf.methods.views import quarter_turns, rotated

    class Stage(SemiSupervised):
        """``L_unl = ((p - sg p')^2 + (sg p - p')^2) / 2``, p' the map of the rotated slice, turned back.

        The SSL4MIS collection's one-network form of Qiao et al., ECCV 2018, arXiv 1803.05984: a rotation is the
        second view.
        """

        def __init__(self, modalities, build, settings, plan, scores):
            super().__init__(modalities, build, settings, plan, scores)
            rows, columns = self.spec.spatial[-2:]
            if rows != columns:
                raise UserError(
                    "deep_co_training turns slices by 90 degrees, which keeps only squares: expected a --window of "
                    f"as many rows as columns, got {rows} and {columns}",
                    remedy="Correct --window, or choose another --method",
                )

        def unlabelled_views(self, batch):
            turns = quarter_turns(batch["seed"])
            images = {name: rotated(image, turns) for name, image in batch["image"].items()}
            return {"unlabelled": batch, "rotated": {"image": images, "seed": batch["seed"]}}

        def unlabelled_term(self, maps, targets, batch):
            back = 4 - quarter_turns(batch["seed"])

            def of(name):
                values = mutual_squared_difference(maps["unlabelled"][name], rotated(maps["rotated"][name], back))
                return self.of_slices_with(batch, name, values)

            return sum(of(name) for name in self.modalities)

    return Stage
