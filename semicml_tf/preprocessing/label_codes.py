"""Label codes on another grid: each class by the part of a voxel that it covers, never by interpolated codes."""

from __future__ import annotations

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import cover, resample_mask
from semicml_tf.labels import LabelDefinition


def resample_codes(codes: np.ndarray, labels: LabelDefinition, source: Grid, target: Grid) -> np.ndarray:
    """Codes on another grid.

    A voxel is ignored if ignored voxels cover at least half of it. Otherwise only its annotated part counts: a region
    covers a voxel that it covers by at least half; of exclusive classes and the background the largest one counts, of
    equals the first class.

    Args:
        codes: of `labels`, of ``source.shape``.

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
        # The classes come first: of equals `argmax` takes the first.
        best = np.argmax(np.concatenate([stack, background[np.newaxis]]), axis=0)
        masks = np.stack([best == number for number in range(len(labels.names))])
    else:
        masks = (2 * stack >= annotated) & (stack > 0)
    return labels.join(masks, None if ignored_points is None else 2 * ignored_points >= points)
