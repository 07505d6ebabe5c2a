"""A patient's volume through a network of slices and back onto its own grid.

NumPy and SciPy only: the network may be in this process or behind gRPC, whoever calls hands it in.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference import slices
from semicml_tf.inference.class_masks import ClassMasks
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.inference.uncertainty import Moments
from semicml_tf.postprocessing.steps import NONE
from semicml_tf.preprocessing import plausibility
from semicml_tf.preprocessing.intensities import intensities
from semicml_tf.preprocessing.normalisation import canonical
from semicml_tf.preprocessing.pipeline import MAX_NETWORK_VOXELS, NetworkInput, preprocess, to_patient_grid
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


def check_classes(manifests: Iterable[Manifest]) -> None:
    """Compares the classes of models that answer together.

    Raises:
        UserError: they differ in names, order or activation.
    """
    first, *others = manifests
    for other in others:
        if (first.labels.names, first.labels.exclusive) != (other.labels.names, other.labels.exclusive):
            raise UserError(
                f"expected models of the same classes, got {first.labels.described()} of '{first.modality}' and "
                f"{other.labels.described()} of '{other.modality}'",
                remedy="Use models of the same classes together",
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


@dataclasses.dataclass(frozen=True, eq=False)
class ClassMaps(Sequence):
    """Probabilities of several classes, each brought onto the volume's own grid when it is asked for.

    Attributes:
        found: (classes, slices, rows, columns) float32.
        prepared: the volume's two grids.
    """

    found: np.ndarray
    prepared: Prepared

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, number: int) -> np.ndarray:
        return to_patient_grid(self.found[number], self.prepared.grid, self.prepared.own)


def through(
    prepared: Prepared,
    manifest: Manifest,
    answers: slices.Answers,
    *,
    batch_size: int,
    overlap: float | None = None,
) -> Sequence[np.ndarray]:
    """Probabilities of each class of a prepared volume, on its own grid; see `segment` and `slices.answered`."""
    values = manifest.classes * prepared.volume.size
    if values > MAX_NETWORK_VOXELS:
        raise UserError(
            f"the probabilities of {manifest.classes} classes in {prepared.volume.size} voxels are {values} numbers, "
            f"more than {MAX_NETWORK_VOXELS}",
            remedy="Cut the volume to the region of interest",
        )
    if batch_size < 1:
        raise UserError(f"expected a batch size of at least 1, got {batch_size}")

    def sound(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(slices.checked, answers(batches))

    found = slices.answered(
        prepared.volume, manifest.patch, sound, classes=manifest.classes, batch_size=batch_size, overlap=overlap
    )
    maps = ClassMaps(found, prepared)
    # A single map is wanted in any case, and the network's grid then leaves the memory.
    return [maps[0]] if manifest.classes == 1 else maps


def joined(maps: Sequence[np.ndarray]) -> np.ndarray:
    """(classes, ...) of a map per class; the map itself of one class."""
    return maps[0] if len(maps) == 1 else np.stack(list(maps))


def segment(
    array: np.ndarray,
    affine: np.ndarray,
    manifest: Manifest,
    predict: SlicePredictor,
    *,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Probabilities on the volume's own grid.

    Args:
        array: the volume in native units, index axes in any order.
        affine: (4, 4), its indices to RAS+ millimetres.
        manifest: of the network.
        predict: maps (batch, window, window, channels) float32 to probabilities (batch, window, window, classes).
        batch_size: slices a call, at most.

    Returns:
        float32 of the shape of `array`; with several classes (classes, ...).

    Raises:
        UserError: the volume is no plausible 3-D volume of the modality; see `check_plausible`.
    """
    answers = functools.partial(map, predict)
    return joined(through(prepare(array, affine, manifest), manifest, answers, batch_size=batch_size))


class Segmenter:
    """A network that segments whole volumes of one modality; where it runs, the subclass says in `slices`.

    Attributes:
        manifest: what the network expects.
        overlap: share of a window that neighbouring windows have in common, at least; None: see `slices.answered`.
    """

    def __init__(self, manifest: Manifest, overlap: float | None = None):
        self.manifest, self.overlap = manifest, overlap

    def slices(self, batch: np.ndarray) -> np.ndarray:
        """Maps (batch, *space, channels) float32, normalised, to probabilities (batch, *space, classes)."""
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

    def draws(self, prepared, *, batch_size: int) -> Iterator[Sequence[np.ndarray]]:
        """Draws whose mean is the answer: a map of probabilities per class, float32 on the volume's own grid.

        A network gives one draw; ensembles and Monte-Carlo dropout give several.
        """
        answers = functools.partial(self.each, self.slices)
        yield through(prepared, self.manifest, answers, batch_size=batch_size, overlap=self.overlap)

    def probabilities(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Probabilities of a volume, on its own grid; see `segment`. Returns float32."""
        moments = Moments()
        for draw in self.draws(self.prepare(array, affine), batch_size=batch_size):
            moments.add(draw)
        return joined([moments.mean(number) for number in range(self.manifest.classes)])

    def class_masks(self, voxel_volume_ml: float | None = None) -> ClassMasks:
        """Takes a map per class, and makes the masks as the manifest says."""
        return ClassMasks(self.manifest.labels, self.manifest.thresholds, self.manifest.steps, voxel_volume_ml)

    def mask(
        self,
        probabilities: np.ndarray,
        affine: np.ndarray | None = None,
        *,
        thresholds: Mapping[str, float] | None = None,
    ) -> np.ndarray:
        """The mask of probabilities, post-processed as the manifest says; see `predict`.

        Args:
            probabilities: as `probabilities` returns them.
            affine: (4, 4) of their grid; may be left out where the manifest names no post-processing.
            thresholds: by region; None takes the manifest's.
        """
        maps = [probabilities] if self.manifest.classes == 1 else probabilities
        voxel_volume_ml = None
        if any(steps != NONE for steps in self.manifest.steps.values()):
            if affine is None:
                raise ValueError(f"expected the affine, which '{self.manifest.steps_text}' needs")
            voxel_volume_ml = own_grid(maps[0], affine).voxel_volume_ml
        masks = self.class_masks(voxel_volume_ml)
        for name, one in zip(self.manifest.labels.names, maps):
            masks.add(one, (thresholds or {}).get(name))
        return masks.labels()

    def predict(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """Segments a volume.

        Args:
            array: (i, j, k) in native units (HU, SUV, MR as reconstructed), axes in any order.
            affine: (4, 4), its indices to RAS+ millimetres.
            batch_size: slices a call, at most.

        Returns:
            uint8 of the shape of `array`: 0/1 of one region, or the numbers of exclusive classes from 1, in the order
            of `manifest.labels.names`. Of several regions, (regions, i, j, k) 0/1.

        Raises:
            UserError: the volume is no plausible 3-D volume of the modality; see `check_plausible`.
        """
        return self.mask(self.probabilities(array, affine, batch_size=batch_size), affine)
