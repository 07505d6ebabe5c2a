"""Utilities without domain knowledge: atomic files, locks, JSON, tables, progress bars, the processor."""
