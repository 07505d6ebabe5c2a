"""A patient's volume through a network of slices and back onto its own grid.

NumPy and SciPy only: the network may be in this process or behind gRPC, whoever calls hands it in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from semicml_tf import body_box
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample
from semicml_tf.inference import slices
from semicml_tf.inference.postprocess import NONE
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.inference.uncertainty import Moments

# Air is -1000 HU and any CT shows some; PET (SUV) and MR hold nothing below about 0.
HIGHEST_CT_MINIMUM_HU = -200.0
# Reconstruction may undershoot 0 a little; 200 is above the hottest bladder, and below bone in HU.
LOWEST_SUV, HIGHEST_SUV = -1.0, 200.0

SlicePredictor = Callable[[np.ndarray], np.ndarray]


def check_modality(manifest: Manifest, modality: str | None) -> None:
    """Compares the modality that the caller says the volume is with the model's; None says nothing.

    Raises:
        UserError: they differ.
    """
    if modality and modality != manifest.modality:
        raise UserError(
            f"expected a model for modality '{modality}', got one for '{manifest.modality}'",
            remedy=f"Choose the exported model of '{modality}'",
        )


def check_units(array: np.ndarray, manifest: Manifest) -> None:
    """Refuses values that cannot be of the model's modality, e.g. a CT given to a PET model.

    Args:
        array: values as the file holds them; any shape.

    Raises:
        UserError: not finite, or not in the native units of the model's modality.
    """
    # Plane by plane: the answers for a whole volume would be a volume, too.
    count = sum(int(np.size(plane) - np.count_nonzero(np.isfinite(plane))) for plane in np.atleast_2d(array))
    if count:
        raise UserError(
            f"expected finite values, got {count} voxels that are NaN or infinite", remedy="Mend the volume"
        )
    low, high = float(np.min(array)), float(np.max(array))
    unit = manifest.normalisation.unit
    received = f"values from {low:g} to {high:g}"
    remedy = f"Give a volume of modality '{manifest.modality}' in {unit}, or use the model of this volume's modality"
    kind = manifest.normalisation.kind
    if kind == "hu" and low > HIGHEST_CT_MINIMUM_HU:
        raise UserError(
            f"expected {unit} with air below {HIGHEST_CT_MINIMUM_HU:g}, got {received}: these are no {unit}",
            remedy=remedy,
        )
    if kind == "suv" and (low < LOWEST_SUV or high > HIGHEST_SUV):
        raise UserError(
            f"expected {unit} between {LOWEST_SUV:g} and {HIGHEST_SUV:g}, got {received}: "
            "these look like Hounsfield units or raw counts",
            remedy=remedy,
        )


def own_grid(array: np.ndarray, affine: np.ndarray) -> Grid:
    """The grid of a volume.

    Raises:
        UserError: the array is not 3-D, or the affine not an invertible (4, 4) matrix.
    """
    if np.ndim(array) != 3:
        raise UserError(f"expected a 3-D volume, got shape {np.shape(array)}", remedy="Give one volume at a time")
    try:
        return Grid(np.shape(array), affine)
    except ValueError as error:
        raise UserError(str(error), remedy="Give the volume's (4, 4) affine: indices to RAS+ millimetres") from error


def network_input(array: np.ndarray, grid: Grid, manifest: Manifest) -> tuple[np.ndarray, Grid]:
    """The volume as conversion makes it for training: resampled, cut to the body, normalised, rounded.

    Returns:
        (slices, rows, columns) float16, as records hold it, and the grid that it lies on.
    """
    target = grid.for_network(manifest.spacing_mm)
    native = resample(array, grid, target)
    if manifest.crop == "body":
        box = body_box.kept({manifest.modality: native}, {manifest.modality: manifest.normalisation.kind}, target)
        native, target = native[box], target.cropped(box)
    constants = manifest.normalisation.constants(array)
    normalised = np.empty(native.shape, np.float16)
    for index, plane in enumerate(native):
        normalised[index] = constants.apply(plane)
    return normalised, target


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A volume as a network reads it.

    Attributes:
        volume: (slices, rows, columns) float16, normalised.
        grid: that it lies on.
        own: the grid of the volume that it was made from.
    """

    volume: np.ndarray
    grid: Grid
    own: Grid


def prepare(array: np.ndarray, affine: np.ndarray, manifest: Manifest) -> Prepared:
    """The input of a network, made of a volume in native units; arguments and errors as for `segment`."""
    own = own_grid(array, affine)
    check_units(array, manifest)
    volume, grid = network_input(array, own, manifest)
    return Prepared(volume, grid, own)


def through(prepared: Prepared, manifest: Manifest, predict: SlicePredictor, *, batch_size: int) -> np.ndarray:
    """Foreground probabilities of a prepared volume, on its own grid; see `segment`."""
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, got {batch_size}")
    found = slices.probabilities(prepared.volume, manifest.window, predict, batch_size=batch_size)
    # Beyond the network's grid lies no body; see `evaluation.segment.native_mask`, which does the same.
    return resample(found, prepared.grid, prepared.own, outside=0.0)


def segment(
    array: np.ndarray,
    affine: np.ndarray,
    manifest: Manifest,
    predict: SlicePredictor,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Foreground probabilities on the volume's own grid.

    Args:
        array: the volume in native units, index axes in any order.
        affine: (4, 4), its indices to RAS+ millimetres.
        manifest: of the network.
        predict: maps (batch, window, window, 1) float32 to probabilities of that shape.
        batch_size: slices a call, at most.

    Returns:
        float32 of the shape of `array`.

    Raises:
        UserError: the volume is no 3-D volume in the modality's units.
    """
    return through(prepare(array, affine, manifest), manifest, predict, batch_size=batch_size)


class Segmenter:
    """A network that segments whole volumes of one modality; where it runs, the subclass says in `slices`.

    Attributes:
        manifest: what the network expects.
    """

    def __init__(self, manifest: Manifest):
        self.manifest = manifest

    def slices(self, batch: np.ndarray) -> np.ndarray:
        """Maps (batch, window, window, 1) float32, normalised, to probabilities of that shape."""
        raise NotImplementedError

    def check_dropout(self) -> None:
        """Raises UserError if it is known that the network has no Monte-Carlo dropout."""
        raise UserError(
            f"this model of '{self.manifest.modality}' has no Monte-Carlo dropout", remedy="Leave --mc_dropout out"
        )

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """As `slices`, with dropout drawn from the seeds (batch,) int32, one a slice; raises as `check_dropout`."""
        self.check_dropout()
        raise NotImplementedError

    def origins(self) -> list[dict]:
        """Which models answer: for each what names it, e.g. ``model`` and ``version``, and its ``run_hash``."""
        return [{"run_hash": self.manifest.run_hash}]

    def prepare(self, array: np.ndarray, affine: np.ndarray):
        """What `draws` reads, made of a volume: the volume itself is not needed any more then."""
        return prepare(array, affine, self.manifest)

    def draws(self, prepared, *, batch_size: int) -> Iterator[np.ndarray]:
        """Maps of probabilities on the volume's own grid, float32, whose mean is the answer.

        A network gives one; ensembles and Monte-Carlo dropout give several.
        """
        yield through(prepared, self.manifest, self.slices, batch_size=batch_size)

    def probabilities(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Foreground probabilities of a volume, on its own grid; see `segment`. Returns float32."""
        moments = Moments()
        for drawn in self.draws(self.prepare(array, affine), batch_size=batch_size):
            moments.add(drawn)
        return moments.mean()

    def mask(self, probabilities: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
        """uint8 0/1: the probabilities of at least the manifest's threshold, post-processed as it says.

        Args:
            probabilities: on the volume's own grid.
            affine: (4, 4) of that grid; may be left out where the manifest names no post-processing.
        """
        found = (probabilities >= np.float32(self.manifest.threshold)).astype(np.uint8)
        if self.manifest.postprocessing == NONE:
            return found
        if affine is None:
            raise ValueError(f"expected the affine, which '{self.manifest.postprocessing}' needs")
        return self.manifest.postprocessing.apply(found, own_grid(found, affine).voxel_volume_ml)

    def predict(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Segments a volume.

        Args:
            array: (i, j, k) in native units (HU, SUV, MR as reconstructed), axes in any order.
            affine: (4, 4), its indices to RAS+ millimetres.
            batch_size: slices a call, at most.

        Returns:
            uint8 0/1 of the shape of `array`.

        Raises:
            UserError: the volume is no 3-D volume in the modality's units.
        """
        return self.mask(self.probabilities(array, affine, batch_size=batch_size), affine)
