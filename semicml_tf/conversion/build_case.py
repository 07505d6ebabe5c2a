"""One case's files to one record: every modality on one grid, normalised, with its label if it has one."""

from __future__ import annotations

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.label_on_grid import read_foreground
from semicml_tf.conversion.verification.overlap import check_overlap
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.preprocessing.body_box import kept
from semicml_tf.records.case_record import CaseRecord


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
    box = tuple(slice(0, size) for size in whole.shape)
    if settings.crop == "body":  # a label has no say in it
        box = kept(native, {name: settings.normalisation[name].kind for name in held}, whole)
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
