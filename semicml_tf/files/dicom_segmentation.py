"""Segments of a DICOM-SEG as a mask on the object's own grid. highdicom reads them."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_geometry
from semicml_tf.files import dicom_library as library
from semicml_tf.geometry.grid import Grid


def names(dataset) -> dict[int, str]:
    """The segments' labels by their numbers, without the background of a label map."""
    items = dataset.get("SegmentSequence") or ()
    found = {int(item.SegmentNumber): str(library.value(item, "SegmentLabel") or "") for item in items}
    found.pop(0, None)
    return found


def read_mask(path: pathlib.Path, numbers) -> tuple[np.ndarray, Grid]:
    """The union of segments as a mask; of fractional ones what is at least one half.

    Returns:
        bool (column, row, slice), and its grid: that of the object's own frames, from the first to the last one.

    Raises:
        UserError: the frames do not lie on a regular grid, or the object is damaged.
    """
    highdicom = library.highdicom()
    try:
        volume = highdicom.seg.segread(path).get_volume(
            segment_numbers=sorted(numbers), combine_segments=False, rescale_fractional=True
        )
    except Exception:  # its text may quote tags
        raise UserError(
            "this DICOM-SEG cannot be read: its frames lie on no regular grid, or the file is damaged",
            path=path,
            remedy="Check it in a viewer, or export the label as NIfTI",
        ) from None
    array = np.asarray(volume.array)
    covered = (array >= 0.5).any(axis=-1) if array.ndim == 4 else array >= 0.5
    # highdicom's indices are slice, row, column.
    affine = dicom_geometry.from_lps(np.asarray(volume.affine))[:, [2, 1, 0, 3]]
    mask = np.ascontiguousarray(covered.transpose(2, 1, 0))
    return mask, Grid(mask.shape, affine)
