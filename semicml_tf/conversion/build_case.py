"""One case's files to one record: every modality on one grid, normalised, with its label if it has one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semicml_tf.conversion.body_box import body_box
from semicml_tf.conversion.label_on_grid import read_foreground
from semicml_tf.conversion.overlap import check_overlap
from semicml_tf.conversion.settings import Settings
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.records.contract import CaseRecord

# Kept round the body, so that networks also learn what its surface and the air look like.
BODY_MARGIN_MM = 10.0


def build(case: CaseFiles, settings: Settings, *, with_label: bool) -> CaseRecord:
    """Reads, resamples and normalises a case.

    Constants of a normalisation come from the volume on its own grid, so that they do not depend on
    the grid of another modality: prediction has one modality alone.

    Args:
        case: its files. A modality whose file is not there is left out: whether it may be absent, verification
            has decided.
        settings: of the conversion.
        with_label: whether to read the label; its file is not opened otherwise.

    Raises:
        UserError: any file is unusable, the modalities do not overlap, the label is not on the grid that
            it should be on, has values outside the label map, or is empty.
    """
    held = case.held(settings.modalities)
    reference_name = settings.reference_modality if settings.reference_modality in held else held[0]
    volumes = {name: case.images[name].read_volume() for name in held}
    reference = volumes[reference_name][1]
    for name, (_, grid) in volumes.items():
        check_overlap(
            reference,
            grid,
            case_id=case.case_id,
            reference_name=reference_name,
            name=name,
            path=case.images[name].path,
        )
    whole = reference.for_network(settings.spacing_mm)
    constants = {name: settings.normalisation[name].constants(volume) for name, (volume, _) in volumes.items()}
    # One volume after the other leaves its own grid: both grids of both at once would double the memory.
    native = {name: resample(*volumes.pop(name), whole) for name in held}
    box = _kept(native, whole, settings)
    grid = whole.cropped(box)
    images = {name: constants[name].apply(native.pop(name)[box]).astype(np.float16) for name in held}
    label = native_label = None
    native_grid = reference
    if with_label:
        native_label, native_grid = read_foreground(case, settings, reference)
        label = resample_mask(native_label, native_grid, grid)
    return CaseRecord(
        case_id=case.case_id,
        grid=grid,
        images=images,
        constants=constants,
        native_grid=native_grid,
        label=label,
        native_label=native_label,
        crop_offset=tuple(side.start for side in box),
        full_shape=whole.shape,
    )


def _kept(volumes: Mapping[str, np.ndarray], grid: Grid, settings: Settings) -> tuple[slice, slice, slice]:
    """The part of the grid that a record keeps: what is body in any modality, with a margin; a label has no say."""
    boxes = [body_box(volume, settings.normalisation[name].kind) for name, volume in volumes.items()]
    boxes = [box for box in boxes if box is not None]
    if settings.crop == "none" or not boxes:
        return tuple(slice(0, size) for size in grid.shape)
    margins = [round(BODY_MARGIN_MM / spacing) for spacing in grid.spacing_mm]
    return tuple(
        slice(max(min(box[axis].start for box in boxes) - margin, 0), min(max(b[axis].stop for b in boxes) + margin, n))
        for axis, (margin, n) in enumerate(zip(margins, grid.shape))
    )
