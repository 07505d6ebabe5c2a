"""Folder layouts: which file holds which modality of which case. One layout per file."""
