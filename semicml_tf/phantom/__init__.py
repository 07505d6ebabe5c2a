"""Paired volumes with known truth: one modality shows a lesion clearly but blurred, the other faintly but sharp."""
