"""Builds the record of a case from its files: all modalities on one grid, normalised, with the label if wanted."""

from __future__ import annotations

from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.label_on_grid import read_codes
from semicml_tf.conversion.verification.plausible_grids import check_overlap
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.preprocessing.label_codes import resample_codes
from semicml_tf.preprocessing.pipeline import preprocess
from semicml_tf.records.case_record import CaseRecord


def build(case: CaseFiles, settings: Settings, *, with_label: bool) -> CaseRecord:
    """Reads and preprocesses a case; see `preprocessing.pipeline`.

    Args:
        case: files of the case. A modality without a file is skipped: verification has checked that it may be missing.
        settings: settings of the conversion.
        with_label: whether to read the label. The label file is not opened otherwise.

    Raises:
        UserError: a file is unusable, the modalities do not overlap, the network grid has too many voxels, or the label
            lies on another grid, has values outside the label map, or is empty.
    """
    names = case.present(settings.modalities)
    reference_name = settings.reference_modality if settings.reference_modality in names else names[0]
    volumes = {name: case.images[name].read_volume() for name in names}
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
    try:
        network = preprocess(
            volumes,
            reference,
            spacing_mm=settings.spacing_mm,
            normalisation=settings.normalisation,
            crop=settings.crop,
        )
    except UserError as error:
        raise UserError(error.problem, path=case.images[reference_name].path, remedy=error.remedy) from error
    label = native_label = None
    native_grid = reference
    if with_label:
        native_label, native_grid = read_codes(case, settings, reference)
        label = resample_codes(native_label, settings.labels, native_grid, network.grid)
    return CaseRecord(
        case_id=case.case_id,
        grid=network.grid,
        images=network.images,
        constants=network.constants,
        native_grid=native_grid,
        label=label,
        native_label=native_label,
        crop_offset=network.crop_offset,
        full_shape=network.full_shape,
        labels=settings.labels,
    )
