"""A patient's volume through a network of slices and back onto its own grid.

NumPy and SciPy only: the network may be in this process or behind gRPC, whoever calls hands it in.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference import slices
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.inference.uncertainty import Moments
from semicml_tf.postprocessing.steps import NONE, to_mask
from semicml_tf.preprocessing import plausibility
from semicml_tf.preprocessing.intensities import intensities
from semicml_tf.preprocessing.normalisation import canonical
from semicml_tf.preprocessing.pipeline import NetworkInput, preprocess, to_patient_grid
from semicml_tf.preprocessing.plausibility import Problem

SlicePredictor = Callable[[np.ndarray], np.ndarray]


def check_modality(manifest: Manifest, modality: str | None) -> None:
    """Compares the modality that the caller says the volume is with the model's; None says nothing.

    Raises:
        UserError: they differ.
    """
    if modality and canonical(modality) != canonical(manifest.modality):
        raise UserError(
            f"expected a model for modality '{modality}', got one for '{manifest.modality}'",
            remedy=f"Choose the exported model of '{modality}'",
        )


def check_plausible(array: np.ndarray, grid: Grid, manifest: Manifest) -> list[Problem]:
    """Refuses what conversion refuses, e.g. a CT given to a PET model or an affine in metres.

    Args:
        array: 3-D, values as the file holds them.
        grid: that they lie on.
        manifest: its `limits` are those of the study that the network was trained on.

    Returns:
        What is odd, and can be used all the same.

    Raises:
        UserError: values are not finite; or an error of `plausibility.CODES` that the study has not accepted.
    """
    # Plane by plane: the answers for a whole volume would be a volume, too.
    count = sum(int(np.size(plane) - np.count_nonzero(np.isfinite(plane))) for plane in np.atleast_2d(array))
    if count:
        raise UserError(f"expected finite values, got {count} voxels that are NaN or infinite", remedy="Fix the volume")
    how, limits, name = manifest.normalisation, manifest.limits, manifest.modality
    found = plausibility.of_grid(grid, limits, name=name)
    _refuse(found)
    found += plausibility.of_values(array, intensities(array, how.kind), how, limits, name=name)
    _refuse(found, f"Give a volume of '{name}' in {how.unit}, or use the model of this volume's modality. ")
    return found


def _refuse(problems: Iterable[Problem], remedy: str = "") -> None:
    for one in problems:
        if one.severity == plausibility.ERROR:
            raise UserError(one.problem, remedy=remedy + one.remedy, code=one.code)


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


def network_input(array: np.ndarray, grid: Grid, manifest: Manifest) -> NetworkInput:
    """The volume as conversion makes it for training; see `preprocessing.pipeline`.

    Raises:
        UserError: the network grid has too many voxels.
    """
    return preprocess(
        {manifest.modality: (array, grid)},
        grid,
        spacing_mm=manifest.spacing_mm,
        normalisation={manifest.modality: manifest.normalisation},
        crop=manifest.crop,
    )


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A volume as a network reads it.

    Attributes:
        volume: (slices, rows, columns) float16, normalised.
        grid: the grid of `volume`.
        own: the grid of the volume in native units.
        warnings: what is odd about the volume, and can be used all the same.
    """

    volume: np.ndarray
    grid: Grid
    own: Grid
    warnings: tuple[Problem, ...] = ()


def prepare(array: np.ndarray, affine: np.ndarray, manifest: Manifest) -> Prepared:
    """The input of a network, made of a volume in native units; arguments and errors as for `segment`."""
    own = own_grid(array, affine)
    warnings = check_plausible(array, own, manifest)
    network = network_input(array, own, manifest)
    return Prepared(network.images[manifest.modality], network.grid, own, tuple(warnings))


def through(prepared: Prepared, manifest: Manifest, answers: slices.Answers, *, batch_size: int) -> np.ndarray:
    """Foreground probabilities of a prepared volume, on its own grid; see `segment` and `slices.answered`."""
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, got {batch_size}")

    def sound(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(slices.checked, answers(batches))

    found = slices.answered(prepared.volume, manifest.window, sound, batch_size=batch_size)
    return to_patient_grid(found, prepared.grid, prepared.own)


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
        UserError: the volume is no plausible 3-D volume of the modality; see `check_plausible`.
    """
    answers = functools.partial(map, predict)
    return through(prepare(array, affine, manifest), manifest, answers, batch_size=batch_size)


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

    def each(self, function: Callable, items: Iterable) -> Iterator:
        """As the built-in `map`: what `function` gives for each item, in their order; it calls `slices` or the like.

        Where calls wait for another machine, a subclass has several under way at once. It takes no more items than that
        before it gives the first result.
        """
        return map(function, items)

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

    def warnings(self, prepared) -> tuple[Problem, ...]:
        """What is odd about the volume of `prepare`, and can be used all the same."""
        return prepared.warnings

    def draws(self, prepared, *, batch_size: int) -> Iterator[np.ndarray]:
        """Maps of probabilities on the volume's own grid, float32, whose mean is the answer.

        A network gives one; ensembles and Monte-Carlo dropout give several.
        """
        answers = functools.partial(self.each, self.slices)
        yield through(prepared, self.manifest, answers, batch_size=batch_size)

    def probabilities(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Foreground probabilities of a volume, on its own grid; see `segment`. Returns float32."""
        moments = Moments()
        for drawn in self.draws(self.prepare(array, affine), batch_size=batch_size):
            moments.add(drawn)
        return moments.mean()

    def mask(
        self,
        probabilities: np.ndarray,
        affine: np.ndarray | None = None,
        *,
        threshold: float | np.ndarray | None = None,
    ) -> np.ndarray:
        """uint8 0/1: the probabilities of at least the threshold, post-processed as the manifest says.

        Args:
            probabilities: on the volume's own grid.
            affine: (4, 4) of that grid; may be left out where the manifest names no post-processing.
            threshold: of all voxels, or of each; None takes the manifest's.
        """
        steps, voxel_volume_ml = self.manifest.postprocessing, None
        if steps != NONE:
            if affine is None:
                raise ValueError(f"expected the affine, which '{steps}' needs")
            voxel_volume_ml = own_grid(probabilities, affine).voxel_volume_ml
        return to_mask(
            probabilities, self.manifest.threshold if threshold is None else threshold, steps, voxel_volume_ml
        )

    def predict(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Segments a volume.

        Args:
            array: (i, j, k) in native units (HU, SUV, MR as reconstructed), axes in any order.
            affine: (4, 4), its indices to RAS+ millimetres.
            batch_size: slices a call, at most.

        Returns:
            uint8 0/1 of the shape of `array`.

        Raises:
            UserError: the volume is no plausible 3-D volume of the modality; see `check_plausible`.
        """
        return self.mask(self.probabilities(array, affine, batch_size=batch_size), affine)
