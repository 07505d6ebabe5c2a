"""Preprocessing: plausibility checks, resampling, cropping to the body and normalisation."""
