"""Conversion: reads images and labels, verifies them, splits the patients, and writes a dataset of shards."""
