"""Medical images on disk: NIfTI volumes, and the folder layouts that say which file is whose."""
