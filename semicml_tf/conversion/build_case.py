"""Builds the record of a case from its files: all modalities on one grid, normalised, with the label if wanted."""

from __future__ import annotations

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.label_on_grid import read_codes
from semicml_tf.conversion.verification.plausible_grids import check_overlap
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import cover, resample_mask
from semicml_tf.labels import LabelDefinition
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


def resample_codes(codes: np.ndarray, labels: LabelDefinition, source: Grid, target: Grid) -> np.ndarray:
    """Resamples label codes by the part of a voxel that each class covers, never by interpolation of codes.

    A voxel is ignored if ignored voxels cover at least half of it. Otherwise only its annotated part counts. A region
    gets the voxel if it covers at least half of this part. Of exclusive classes and the background, the largest gets
    the voxel; if they are equal, the first class.

    Args:
        codes: codes of `labels`, of ``source.shape``.
        labels: the classes.
        source: grid of `codes`.
        target: grid of the result.

    Returns:
        Codes of ``target.shape``.
    """
    if labels.is_plain:
        return resample_mask(codes, source, target)
    ignored, ignored_points = labels.ignored(codes), None
    if ignored is not None:
        ignored_points, points = cover(ignored, source, target)
    covers = []
    for name in labels.names:
        covered, points = cover(labels.mask(codes, name), source, target)
        covers.append(covered)
    annotated = points if ignored_points is None else points - ignored_points
    stack = np.stack(covers)
    if labels.exclusive:
        background = annotated - np.minimum(stack.sum(axis=0), annotated)
        # The background comes last, because `argmax` returns the first of equal maxima.
        best = np.argmax(np.concatenate([stack, background[np.newaxis]]), axis=0)
        masks = np.stack([best == number for number in range(len(labels.names))])
    else:
        masks = (2 * stack >= annotated) & (stack > 0)
    return labels.join(masks, None if ignored_points is None else 2 * ignored_points >= points)
