"""Scores of one patient: one metric per file, collected by `catalogue`."""
