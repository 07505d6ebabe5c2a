"""Labelled slices only: the baseline, and with all patients labelled the ceiling."""

from __future__ import annotations

from semicml_tf.methods.declaration import Declaration

METHOD = Declaration("labelled slices only", needs_unlabelled=False)


def stage_class():
    """The method as a Keras model. Keras is imported late: `--help` must not wait for it."""
    from semicml_tf.methods.base import Method

    class Stage(Method):
        """Each student minimises the supervised loss on its own modality; nothing connects the modalities."""

    return Stage
