"""Corrections of a mask on the patient's own grid, shared by evaluation, prediction and serving."""
