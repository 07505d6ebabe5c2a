"""Surface elements of two masks and how far each lies from the other surface, in mm.

Elements, their areas and the measures made of them are those of google-deepmind/surface-distance: marching cubes
(Lorensen and Cline 1987, doi 10.1145/37401.37422) on voxel centres, one element a corner of voxels of which some of the
eight around it are foreground and some are not. That library looks distances up in a map of the masks' joint box,
which for two voxels far apart is the whole volume; here a k-d tree holds the elements alone. Both give the same numbers
(`tests/evaluation/test_surfaces.py`).
"""

from __future__ import annotations

import numpy as np

_AXES = (0, 1, 2)


def foreground_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds the foreground of a mask (i, j, k) of bool, which must not be empty."""
    box = []
    for axis in _AXES:
        held = np.flatnonzero(mask.any(axis=tuple(other for other in _AXES if other != axis)))
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def surface_elements(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Where a mask's surface elements are, and how large.

    Args:
        mask: (i, j, k) of bool, not empty. Beyond the volume is background: a mask that touches the border ends there.
        spacing_mm: distance of voxels along i, j, k.

    Returns:
        Positions in mm, (elements, 3), of one origin for all masks of a volume; areas in mm2, (elements,).
    """
    from surface_distance import lookup_tables

    box = foreground_box(mask)
    padded = np.pad(mask[box].astype(np.uint8), 1)
    size = [length - 1 for length in padded.shape]
    # Corner (i, j, k) of the padded box lies amid its voxels i..i+1, j..j+1, k..k+1: a bit for each.
    codes = np.zeros(size, np.uint8)
    for (i, j, k), bit in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        codes += padded[i : i + size[0], j : j + size[1], k : k + size[2]] * np.uint8(bit)
    # Neither 0 (all background) nor 255 (all foreground), which one more turns into 0.
    found = np.flatnonzero((codes + np.uint8(1)) > 1)
    corners = np.stack(np.unravel_index(found, codes.shape), axis=1) + [side.start for side in box]
    areas = lookup_tables.create_table_neighbour_code_to_surface_area(tuple(map(float, spacing_mm)))
    return corners * np.asarray(spacing_mm, np.float64), areas[codes.ravel()[found]]


def _sorted(distances: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> dict[str, np.ndarray]:
    """What `surface_distance.compute_surface_distances(truth, prediction, spacing_mm)` returns, for its measures.

    Args:
        prediction, truth: (i, j, k) of bool, neither empty.
        spacing_mm: distance of voxels along i, j, k. Axes are taken as perpendicular.

    Returns:
        ``distances_gt_to_pred``, ``distances_pred_to_gt``: of each element of one surface to the nearest of the other,
        in mm, ascending; ``surfel_areas_gt``, ``surfel_areas_pred``: their areas in mm2, in that order.
    """
    from scipy.spatial import KDTree

    true, true_areas = surface_elements(truth, spacing_mm)
    drawn, drawn_areas = surface_elements(prediction, spacing_mm)
    # Unbalanced trees are built faster than these few queries would repay a balanced one.
    to_drawn = KDTree(drawn, balanced_tree=False, compact_nodes=False).query(true)[0]
    to_true = KDTree(true, balanced_tree=False, compact_nodes=False).query(drawn)[0]
    found: dict[str, np.ndarray] = {}
    found["distances_gt_to_pred"], found["surfel_areas_gt"] = _sorted(to_drawn, true_areas)
    found["distances_pred_to_gt"], found["surfel_areas_pred"] = _sorted(to_true, drawn_areas)
    return found


def pooled_mean_mm(found: dict[str, np.ndarray]) -> float:
    """Average symmetric surface distance: over both surfaces' elements together, by area.

    Source: Heimann et al. 2009, doi 10.1109/TMI.2009.2013851: pooled, not the mean of two means.
    """
    distances = np.concatenate([found["distances_gt_to_pred"], found["distances_pred_to_gt"]])
    areas = np.concatenate([found["surfel_areas_gt"], found["surfel_areas_pred"]])
    return float(np.sum(distances * areas) / np.sum(areas))
