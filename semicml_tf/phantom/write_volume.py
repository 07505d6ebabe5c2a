"""A phantom's volume as a NIfTI file; the same volume gives the same bytes."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.system import atomic_files

_SUV_STEP = 1 / 1024  # SUV a stored unit: int16 then reaches SUV 32


def write_volume(path: pathlib.Path, volume: np.ndarray, grid: Grid) -> None:
    """Writes integers as they are; float32 as int16 with a scale, as scanners' exports store SUV.

    Args:
        path: ends in .nii or .nii.gz.
        volume: of the grid's shape, or with a fourth axis of channels.
        grid: of the volume.
    """
    import nibabel

    stored = np.round(volume / _SUV_STEP).clip(0, 32767).astype(np.int16) if volume.dtype == np.float32 else volume
    image = nibabel.Nifti1Image(stored, grid.affine)
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    if stored is not volume:
        # nibabel drops a scale that was set by hand, so it goes into the header's bytes.
        offset = nibabel.nifti1.header_dtype.fields["scl_slope"][1]
        content[offset : offset + 4] = np.float32(_SUV_STEP).tobytes()

    def write(stream):
        if path.suffix != ".gz":
            stream.write(content)
            return
        # gzip stores name and time of its input by default, and the bytes would differ at every run.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped:
            zipped.write(content)

    atomic_files.write_file(path, write)
