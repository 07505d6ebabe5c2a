"""Chooses the served models of the modalities that a patient has, and fuses their answers."""
