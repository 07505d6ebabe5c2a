"""NIfTI files: header, voxels, compression and writing."""
