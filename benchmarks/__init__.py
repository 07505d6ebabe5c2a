"""Measurements. Each is a command, `python -m benchmarks.NAME`, that prints its tables and describes the machine."""
