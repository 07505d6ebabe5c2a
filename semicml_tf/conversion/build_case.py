"""One case's files to one record: every modality on one grid, normalised, with its label if it has one."""

from __future__ import annotations

import numpy as np

from semicml_tf.conversion.label_on_grid import read_foreground
from semicml_tf.conversion.overlap import check_overlap
from semicml_tf.conversion.settings import Settings
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.records.contract import CaseRecord


def build(case: CaseFiles, settings: Settings, *, with_label: bool) -> CaseRecord:
    """Reads, resamples and normalises a case.

    Constants of a normalisation come from the volume on its own grid, so that they do not depend on
    the grid of another modality: prediction has one modality alone.

    Args:
        case: its files.
        settings: of the conversion.
        with_label: whether to read the label; its file is not opened otherwise.

    Raises:
        UserError: any file is unusable, the modalities do not overlap, the label is not on the grid that
            it should be on, has values outside the label map, or is empty.
    """
    volumes = {name: case.images[name].read_volume() for name in settings.modalities}
    reference = volumes[settings.reference_modality][1]
    for name, (_, grid) in volumes.items():
        check_overlap(
            reference,
            grid,
            case_id=case.case_id,
            reference_name=settings.reference_modality,
            name=name,
            path=case.images[name].path,
        )
    grid = reference.for_network(settings.spacing_mm)
    images, constants = {}, {}
    for name, (volume, source) in volumes.items():
        constants[name] = settings.normalisation[name].constants(volume)
        images[name] = constants[name].apply(resample(volume, source, grid)).astype(np.float16)
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
    )
