"""Base of methods whose students have auxiliary outputs in training."""

from __future__ import annotations

from semicml_tf.methods import deep_supervision
from semicml_tf.methods.semi_supervised import SemiSupervised
from semicml_tf.networks.auxiliary_outputs import with_outputs


class AuxiliarySupervised(SemiSupervised):
    """Companions read `features` of a student. All outputs learn from the labels.

    The labelled loss is a weighted mean over the outputs, with the weight `auxiliary_supervised` for each auxiliary
    output.
    """

    # Which of `networks.network.Parts` the companions read: ``encoder`` or ``decoder``.
    features: str

    def __init__(self, modalities, build, settings, plan, scores):
        super().__init__(modalities, build, settings, plan, scores)
        self._with_outputs = {
            name: with_outputs(
                self.trained[name],
                getattr(student.parts, self.features),
                {kind: companions[name] for kind, companions in self.companions.items()},
            )
            for name, student in self.students.items()
        }

    def maps_of(self, name, images, seeds):
        maps = self._with_outputs[name]([images, seeds], training=True)
        named = deep_supervision.named(name, maps)
        for kind in self.companions:
            # A companion returns a map or a list of maps.
            several = maps[kind] if isinstance(maps[kind], (list, tuple)) else [maps[kind]]
            named |= {f"{name}/{kind}/{number}": value for number, value in enumerate(several)}
        return named

    def main_and_others(self, maps, name: str) -> tuple:
        """The main map of a modality, and the list of its auxiliary maps, from the maps of a view."""
        return maps[name], [value for key, value in sorted(maps.items()) if key.startswith(f"{name}/")]

    def supervised_term(self, batch, maps):
        share, total = self.settings.auxiliary_supervised, 0.0
        for name in self.modalities:
            main, others = self.main_and_others(maps["labelled"], name)
            losses = [self.labelled_loss(p, batch["labelled"], name) for p in (main, *others)]
            total += (losses[0] + share * sum(losses[1:])) / (1.0 + share * len(others))
        return total
