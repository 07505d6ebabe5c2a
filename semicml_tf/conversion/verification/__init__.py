"""Checks of the input before anything is converted: one case at a time, then all cases together."""
