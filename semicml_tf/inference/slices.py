"""A network of square slices, with or without their neighbours, or of patches applied to a whole volume."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry import tiling
from semicml_tf.geometry.patch import Patch, mirrored
from semicml_tf.inference import patches

# Takes batches of slices, (batch, *patch.shape) float32, and gives the probabilities of each in their order.
Answers = Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]
# Slices a call, where nobody says otherwise; a published model is warmed up for it.
BATCH_SIZE = 16


def probabilities(
    volume: np.ndarray,
    patch: Patch,
    predict: Callable[[np.ndarray], np.ndarray],
    *,
    classes: int | None = None,
    batch_size: int = BATCH_SIZE,
    overlap: float | None = None,
) -> np.ndarray:
    """As `answered`, by a network that is called with one batch after the other.

    Args:
        volume, patch, classes, batch_size, overlap: see `answered`.
        predict: maps (batch, *patch.shape) float32 to probabilities (batch, *patch.spatial, classes). The windows come
            in the order of `tiling.cut`, each once.
    """
    answers = functools.partial(map, predict)
    return answered(volume, patch, answers, classes=classes, batch_size=batch_size, overlap=overlap)


def count(shape: tuple[int, ...], patch: Patch, overlap: float | None = None) -> int:
    """Number of windows of a volume of this shape; `overlap` as for `answered`."""
    if len(patch.spatial) == 3:
        return patches.count(shape, patch, overlap)
    return shape[0] * tiling.per_slice(shape, patch.window, _of_slices(overlap))


def _of_slices(overlap: float | None) -> float:
    return tiling.OVERLAP if overlap is None else overlap


def batches(volume: np.ndarray, patch: Patch, batch_size: int, overlap: float | None = None) -> Iterator[np.ndarray]:
    """The windows of a volume in the order of `tiling.cut`, (batch, *patch.shape) float32, cut when asked for."""
    if len(patch.spatial) == 3:
        yield from patches.batches(volume, patch, batch_size, overlap)
        return
    window, context, overlap = patch.window, patch.context_slices, _of_slices(overlap)
    each, total = tiling.per_slice(volume.shape, window, overlap), count(volume.shape, patch, overlap)
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        first, last = start // each, -(-stop // each)
        needed = (
            volume[mirrored(np.arange(first - context, last + context), len(volume))] if context else volume[first:last]
        )
        tiles = tiling.cut(np.asarray(needed, np.float32), window, overlap)
        # Channel c of a slice is the slice c - context further on.
        channels = [tiles[channel * each :][: (last - first) * each] for channel in range(patch.channels)]
        chosen = slice(start - first * each, stop - first * each)
        yield np.stack([tiles[chosen] for tiles in channels], axis=-1)


def checked(answer: np.ndarray) -> np.ndarray:
    """A network's answer, if a mask may be made of it.

    Raises:
        UserError: a value is not a number from 0 to 1, as where weights are damaged or a server is another one.
    """
    answer = np.asarray(answer)
    # Not the other way round: a comparison with NaN is false.
    if answer.size and not (answer.min() >= 0 and answer.max() <= 1):
        wrong = answer[~((answer >= 0) & (answer <= 1))]
        raise UserError(
            f"expected probabilities from 0 to 1 of the network, got {wrong.size} of {answer.size} values that are no "
            f"probabilities, the first {wrong[0]:g}",
            remedy="No mask is made of them; check the network's weights, and what answers in its place",
        )
    return answer


def answered(
    volume: np.ndarray,
    patch: Patch,
    answers: Answers,
    *,
    classes: int | None = None,
    batch_size: int = BATCH_SIZE,
    overlap: float | None = None,
) -> np.ndarray:
    """Probabilities of a normalised volume on the network's grid.

    Windows are cut, sent and joined batch by batch: beside the result there are as many batches in memory as `answers`
    takes before it gives the first back.

    Args:
        volume: (slices, rows, columns), normalised, of any float type.
        patch: what one input of the network covers.
        answers: the network.
        classes: number of its output channels; None: one channel, which the result then leaves out.
        batch_size: slices a batch, at most. Part of the result: another batch size may change the last bits.
        overlap: share of a window that neighbouring windows have in common, at least. None: `tiling.OVERLAP` for slices
            and `patch_tiling.OVERLAP` for patches.

    Returns:
        float32 (classes, slices, rows, columns), or of the shape of `volume` if `classes` is None.

    Raises:
        UserError: an answer is not of the shape (batch, window, window, classes).
    """
    channels, window = classes or 1, patch.window
    if len(patch.spatial) == 3:
        found = patches.answered(volume, patch, answers, classes=channels, batch_size=batch_size, overlap=overlap)
        return found[0] if classes is None else found
    found = np.empty((channels, *volume.shape), np.float32)
    overlap = _of_slices(overlap)
    each, done = tiling.per_slice(volume.shape, window, overlap), 0
    waiting = np.empty((0, window, window, channels), np.float32)
    for answer in answers(batches(volume, patch, batch_size, overlap)):
        answer = np.asarray(answer)
        if answer.shape[1:] != (window, window, channels):
            raise UserError(
                f"expected probabilities of shape (batch, {window}, {window}, {channels}) of the network, got "
                f"{answer.shape}",
                remedy=f"Use a network of {channels} output channel{'s' * (channels > 1)} and of this window",
            )
        waiting = np.concatenate([waiting, answer.astype(np.float32)])
        whole = len(waiting) // each  # slices of which all windows are there
        if whole:
            joined = (whole, *volume.shape[1:])
            for number in range(channels):
                tiles = waiting[: whole * each, ..., number]
                found[number, done : done + whole] = tiling.join(tiles, joined, window, overlap)
            waiting, done = waiting[whole * each :], done + whole
    return found[0] if classes is None else found
