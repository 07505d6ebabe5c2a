"""From images in native units to the network's grid, and from the network's grid back to the patient's.

Conversion and prediction call `preprocess`: a network sees the voxels that it was trained on. Evaluation and prediction
call `to_patient_grid`: a scored mask is the mask that a user gets.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample
from semicml_tf.preprocessing import body_box
from semicml_tf.preprocessing.normalisation import Constants, Normalisation

# Limit for the voxels of an image on the network's grid. Larger images may have eight times their own voxels.
MAX_NETWORK_VOXELS = 2**30
CROPS = ("body", "none")


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkInput:
    """One patient's images as networks read them.

    Attributes:
        grid: grid of all images: the whole network grid, or a box cut from it.
        images: by modality, (slices, rows, columns) float16, normalised.
        constants: by modality, the constants of its normalisation.
        crop_offset: index of the first voxel of `grid` in the whole network grid.
        full_shape: shape of the whole network grid.
    """

    grid: Grid
    images: dict[str, np.ndarray]
    constants: dict[str, Constants]
    crop_offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]


def preprocess(
    images: MutableMapping[str, tuple[np.ndarray, Grid]],
    reference: Grid,
    *,
    spacing_mm: Sequence[float],
    normalisation: Mapping[str, Normalisation],
    crop: str,
) -> NetworkInput:
    """Resamples, crops and normalises the images of one patient.

    The constants of a normalisation come from the image on its own grid. They do not depend on the other modalities,
    because prediction may have one modality alone.

    Args:
        images: by modality, values in native units and their grid. **The mapping is emptied**: each image leaves the
            memory as soon as it is resampled, unless the caller keeps it.
        reference: the patient's grid, whose box the network grid covers.
        spacing_mm: (slice, row, column) of the network grid; 0 keeps the reference's spacing.
        normalisation: by modality; may name further modalities.
        crop: ``body``: keep the body's bounding box over all images, with a margin; ``none``: keep the whole grid.

    Returns:
        The images in the order of `images`.

    Raises:
        UserError: the network grid has too many voxels.
    """
    if crop not in CROPS:
        raise ValueError(f"expected a crop of {', '.join(CROPS)}, got {crop!r}")
    names = list(images)
    whole = reference.for_network(spacing_mm)
    most = max(MAX_NETWORK_VOXELS, 8 * math.prod(reference.shape))
    if math.prod(whole.shape) > most:
        raise UserError(
            f"expected at most {most} voxels on the network's grid, got {' x '.join(map(str, whole.shape))}",
            remedy=f"Check the image's voxel sizes, and spacing_mm {list(spacing_mm)}",
        )
    constants = {name: normalisation[name].constants(values) for name, (values, _) in images.items()}
    native = {name: resample(*images.pop(name), whole) for name in names}
    box = tuple(slice(0, size) for size in whole.shape)
    if crop == "body":
        box = body_box.kept(native, {name: normalisation[name].kind for name in names}, whole)
    grid = whole.cropped(box)
    normalised = {name: _normalised(native.pop(name)[box], constants[name]) for name in names}
    return NetworkInput(grid, normalised, constants, tuple(side.start for side in box), whole.shape)


def _normalised(values: np.ndarray, constants: Constants) -> np.ndarray:
    """Normalised float16 values, computed plane by plane to avoid a float32 copy of the volume."""
    normalised = np.empty(values.shape, np.float16)
    for plane, native in zip(normalised, values):
        plane[:] = constants.apply(native)
    return normalised


def to_patient_grid(probabilities: np.ndarray, network_grid: Grid, patient_grid: Grid) -> np.ndarray:
    """The inverse of `preprocess`: probabilities interpolated onto the patient's own grid.

    A network grid that was cropped to the body ends before the patient's grid does. The probability is 0 there: nothing
    was segmented more than half a voxel beyond the network grid.

    Args:
        probabilities: float32 of ``network_grid.shape``.
        network_grid: `NetworkInput.grid`.
        patient_grid: the grid to interpolate onto.

    Returns:
        float32 of ``patient_grid.shape``.
    """
    return resample(probabilities, network_grid, patient_grid, outside=0.0, axis_by_axis=True)
