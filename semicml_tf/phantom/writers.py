"""Phantom cases as files, in the layouts that conversion reads; the same case gives the same bytes."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np

from semicml_tf import atomic
from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom.case import PhantomCase

_SUV_STEP = 1 / 1024  # SUV a stored unit: int16 then reaches SUV 32


def write_hecktor(folder: pathlib.Path, case: PhantomCase) -> dict[str, str]:
    """Writes ``imagesTr/CASE__CT.nii.gz``, ``imagesTr/CASE__PT.nii.gz`` and ``labelsTr/CASE.nii.gz``.

    Returns:
        Relative path by modality, and of the label as ``label``.
    """
    paths = {
        "ct": f"imagesTr/{case.case_id}__CT.nii.gz",
        "pet": f"imagesTr/{case.case_id}__PT.nii.gz",
        "label": f"labelsTr/{case.case_id}.nii.gz",
    }
    return _write_case(folder, case, paths)


def write_brats(folder: pathlib.Path, case: PhantomCase) -> dict[str, str]:
    """Writes ``CASE/CASE_<modality>.nii.gz`` and ``CASE/CASE_seg.nii.gz``; returns as `write_hecktor`."""
    paths = {m: f"{case.case_id}/{case.case_id}_{m}.nii.gz" for m in case.images}
    return _write_case(folder, case, paths | {"label": f"{case.case_id}/{case.case_id}_seg.nii.gz"})


def write_plain(folder: pathlib.Path, case: PhantomCase) -> dict[str, str]:
    """Writes ``volumes/CASE_<modality>.nii.gz`` and ``volumes/CASE_label.nii.gz``; returns as `write_hecktor`."""
    return _write_case(folder, case, {m: f"volumes/{case.case_id}_{m}.nii.gz" for m in (*case.images, "label")})


def _write_case(folder, case: PhantomCase, paths: dict[str, str]) -> dict[str, str]:
    for modality, (volume, grid) in case.images.items():
        _write_nifti(pathlib.Path(folder) / paths[modality], volume, grid)
    _write_nifti(pathlib.Path(folder) / paths["label"], case.label, case.label_grid)
    return paths


def _write_nifti(path: pathlib.Path, volume: np.ndarray, grid: Grid) -> None:
    """Integers as they are; float32 as int16 with a scale, as scanners' exports store SUV."""
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
        # gzip stores name and time of its input by default, and the bytes would differ at every run.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped:
            zipped.write(content)

    atomic.write_file(path, write)
