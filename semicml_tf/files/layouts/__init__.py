"""Folder layouts: which file is which modality of which case. One layout per file."""
