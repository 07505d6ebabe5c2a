"""One case's files to one record: every modality on one grid, normalised, with its label if it has one."""

from __future__ import annotations

import itertools

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.records.contract import CaseRecord

# A modality that shows less of the reference's box than this is another patient, or another region.
LEAST_OVERLAP = 0.5


def covered(reference: Grid, other: Grid) -> float:
    """Fraction of `reference`'s box that lies in `other`'s box, on a lattice of 16 points an axis."""
    steps = [(np.arange(16) + 0.5) / 16 * size - 0.5 for size in reference.shape]
    points = np.array([(*point, 1.0) for point in itertools.product(*steps)])
    indices = (points @ (np.linalg.inv(other.affine) @ reference.affine).T)[:, :3]
    inside = (indices >= -0.5) & (indices <= np.array(other.shape) - 0.5)
    return float(inside.all(axis=1).mean())


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
        share = covered(reference, grid)
        if share < LEAST_OVERLAP:
            raise UserError(
                f"'{name}' of case {case.case_id} covers {share:.0%} of the box of '{settings.reference_modality}', "
                f"expected at least {LEAST_OVERLAP:.0%}",
                path=case.images[name].path,
                remedy="Check that both are of one patient and that their affines are right, or exclude the case",
            )
    grid = reference.for_network(settings.spacing_mm)
    images, constants = {}, {}
    for name, (volume, source) in volumes.items():
        constants[name] = settings.normalisation[name].constants(volume)
        images[name] = constants[name].apply(resample(volume, source, grid)).astype(np.float16)
    label = native_label = None
    native_grid = reference
    if with_label:
        native_label, native_grid = _foreground(case, settings, reference)
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


def _foreground(case: CaseFiles, settings: Settings, reference: Grid) -> tuple[np.ndarray, Grid]:
    """The label's foreground, uint8 0/1, on the grid that it was drawn on."""
    values, grid = case.label.read_label()
    drawn_on = case.label_on or case.images[settings.reference_modality]
    expected = case.label_on.read_grid() if case.label_on else reference
    if not grid.is_close(expected):
        raise UserError(
            f"the label of case {case.case_id} has shape {grid.shape} and spacing {_mm(grid)}, but not the grid of "
            f"{drawn_on.path.name} (shape {expected.shape}, spacing {_mm(expected)}) or not its place",
            path=case.label.path,
            remedy="Resample the label onto that image with nearest neighbour, or name its image in --label_on",
        )
    found = [int(value) for value in np.unique(values)]
    strange = sorted(set(found) - set(settings.label_values) - set(settings.background_values))
    if strange:
        raise UserError(
            f"expected label values {sorted(settings.label_values + settings.background_values)}, "
            f"got also {strange[:8]}",
            path=case.label.path,
            remedy="Name every value in --label_values (foreground) or --background_values",
        )
    mask = np.isin(values, settings.label_values).astype(np.uint8)
    if not mask.any() and not settings.allow_empty_labels:
        raise UserError(
            f"the label of case {case.case_id} is empty: no voxel is {' or '.join(map(str, settings.label_values))}",
            path=case.label.path,
            remedy="Check --label_values and the file, or pass --allow_empty_labels",
        )
    return mask, grid


def _mm(grid: Grid) -> str:
    return " x ".join(f"{spacing:.2f}" for spacing in grid.spacing_mm) + " mm"
