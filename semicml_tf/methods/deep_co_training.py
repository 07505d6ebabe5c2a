"""Deep co-training by rotation: a student's maps of a slice and of the rotated slice agree."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.consistency import mutual_squared_difference
from semicml_tf.methods.semi_supervised import SemiSupervised
from semicml_tf.networks.sample_noise import seeds_for, uniform


def quarter_turns(seeds):
    """1, 2 or 3 for each sample; (batch,) int32."""
    return 1 + ops.cast(3.0 * uniform(seeds_for("rotation", seeds), (), salt=0), "int32")


def rotated(x, turns):
    """Each square slice turned counter-clockwise by its number of quarter turns; x: (batch, side, side, 1)."""
    choices = ops.stack([ops.rot90(x, k, axes=(1, 2)) for k in range(4)], axis=1)
    chosen = ops.one_hot(ops.mod(turns, 4), 4, dtype=x.dtype)
    return ops.sum(choices * ops.reshape(chosen, (-1, 4, 1, 1, 1)), axis=1)


class Stage(SemiSupervised):
    """``L_unl = ((p - sg p')^2 + (sg p - p')^2) / 2``, p' the map of the rotated slice, turned back.

    The SSL4MIS collection's one-network form of Qiao et al., ECCV 2018, arXiv 1803.05984: a rotation is the
    second view.
    """

    def unlabelled_views(self, batch):
        turns = quarter_turns(batch["seed"])
        images = {name: rotated(image, turns) for name, image in batch["image"].items()}
        return {"unlabelled": batch, "rotated": {"image": images, "seed": batch["seed"]}}

    def unlabelled_term(self, maps, targets, batch):
        back = 4 - quarter_turns(batch["seed"])
        return sum(
            mutual_squared_difference(maps["unlabelled"][name], rotated(maps["rotated"][name], back))
            for name in self.modalities
        )
