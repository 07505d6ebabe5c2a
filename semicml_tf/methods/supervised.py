"""Labelled slices only: the baseline, and with all patients labelled the ceiling."""

from __future__ import annotations

from semicml_tf.methods.base import Method


class Stage(Method):
    """Each student minimises the supervised loss on its own modality; nothing ties the two."""
