"""Training on labelled slices only: the supervised baseline, and the upper bound if all patients are labelled."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration

METHOD = Declaration("labelled slices only", needs_unlabelled=False)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from semicml_tf.methods.base import Method

    class Stage(Method):
        """Each student minimises the supervised loss on its own modality, independently of the others."""

    return Stage
