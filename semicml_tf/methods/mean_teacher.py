"""Mean Teacher: each student agrees with its own moving average on noisy slices."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import NoisyAverage, UnlabelledLoss

METHOD = Declaration(
    "each student agrees with its own moving average (Mean Teacher)",
    knobs=(UnlabelledLoss, NoisyAverage),
    needs_average=lambda settings: True,
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.losses.consistency import squared_difference
    from semicml_tf.methods.average_teacher import AverageTeacher

    class Stage(AverageTeacher):
        """``L_unl = mean (p - teacher(x + clip(0.1 N, +-0.2)))^2`` (Tarvainen and Valpola 2017, arXiv 1703.01780)."""

        def unlabelled_term(self, maps, targets, batch):
            def of(name):
                return self.of_slices_with(batch, name, squared_difference(maps["unlabelled"][name], targets[name]))

            return sum(of(name) for name in self.modalities)

    return Stage
