"""Where voxels lie in the patient: grids, resampling between them, windows cut from slices."""
