"""Spacing, window and normalisation chosen from a summary of the whole dataset."""
