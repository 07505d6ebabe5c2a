"""Scores of networks per patient, on the patient's own grid, beside no-network baselines."""
