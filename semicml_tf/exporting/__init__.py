"""Writes artefacts: a network becomes a SavedModel with its manifest, checked before it is published."""
