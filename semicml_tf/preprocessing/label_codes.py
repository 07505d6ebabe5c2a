"""Resampling of label codes by the part of a voxel that each class covers, never by interpolation of codes."""

from __future__ import annotations

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import cover, resample_mask
from semicml_tf.labels import LabelDefinition


def resample_codes(codes: np.ndarray, labels: LabelDefinition, source: Grid, target: Grid) -> np.ndarray:
    """Resamples codes to another grid.

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
