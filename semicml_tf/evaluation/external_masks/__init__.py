"""Scores of masks that another tool made."""
