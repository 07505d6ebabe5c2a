"""Windows of one size cut from slices of any size, and their results put together again."""

from __future__ import annotations

import numpy as np

# The share of a window that neighbouring windows have in common, at least.
OVERLAP = 0.25


def starts(size: int, window: int, overlap: float = OVERLAP) -> list[int]:
    """Evenly spread starts of the fewest windows that cover `size` and have at least this share in common."""
    if size <= window:
        return [0]
    count = 1 + int(np.ceil((size - window) / ((1 - overlap) * window)))
    return [int(round(s)) for s in np.linspace(0, size - window, count)]


def _padding(shape: tuple[int, int], window: int) -> list[tuple[int, int]]:
    return [((window - size) // 2, window - size - (window - size) // 2) if size < window else (0, 0) for size in shape]


def per_slice(shape: tuple[int, ...], window: int, overlap: float = OVERLAP) -> int:
    """Number of windows that `cut` makes of each slice of a volume of this shape."""
    return len(starts(shape[1], window, overlap)) * len(starts(shape[2], window, overlap))


def cut(volume: np.ndarray, window: int, overlap: float = OVERLAP) -> np.ndarray:
    """Cuts every slice into windows.

    Args:
        volume: (slices, rows, columns).
        window: side of the square windows. Slices smaller than it are mirrored at their border (the
            border then looks as it does in training, which mirrors too).
        overlap: share of a window that neighbouring windows have in common, at least; from 0 to below 1.

    Returns:
        (slices * windows per slice, window, window), slices outermost.
    """
    padded = np.pad(volume, [(0, 0), *_padding(volume.shape[1:], window)], mode="symmetric")
    rows, columns = (starts(size, window, overlap) for size in padded.shape[1:])
    tiles = [padded[:, r : r + window, c : c + window] for r in rows for c in columns]
    return np.stack(tiles, axis=1).reshape(-1, window, window)


def _weight(window: int) -> np.ndarray:
    """Weight of a window's pixels where windows overlap: falls towards the border, never 0."""
    ramp = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1)).astype(np.float32)
    return np.minimum.outer(ramp, ramp)


def join(tiles: np.ndarray, shape: tuple[int, int, int], window: int, overlap: float = OVERLAP) -> np.ndarray:
    """The inverse of `cut`: weighted mean where windows overlap, padding removed.

    Args:
        tiles: as `cut` orders them, float32.
        shape: of the volume that was cut.
        overlap: with which it was cut.
    """
    padding = _padding(shape[1:], window)
    height, width = (size + sum(pad) for size, pad in zip(shape[1:], padding))
    rows, columns = starts(height, window, overlap), starts(width, window, overlap)
    tiles = tiles.reshape(shape[0], len(rows) * len(columns), window, window)
    if tiles.shape[1] > 1:
        weight = _weight(window)
        total = np.zeros((shape[0], height, width), np.float32)
        norm = np.zeros((height, width), np.float32)
        for index, (r, c) in enumerate((r, c) for r in rows for c in columns):
            total[:, r : r + window, c : c + window] += tiles[:, index] * weight
            norm[r : r + window, c : c + window] += weight
        whole = total / norm
    else:
        whole = tiles[:, 0]
    (top, _), (left, _) = padding
    return whole[:, top : top + shape[1], left : left + shape[2]]
