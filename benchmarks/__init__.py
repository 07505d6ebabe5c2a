"""Measurements: each a command, `python -m benchmarks.NAME`, that prints its table and the machine it ran on."""
