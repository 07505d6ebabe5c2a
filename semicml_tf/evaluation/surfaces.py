"""Surface elements of two masks, and the distance of each element from the other surface, in mm.

Elements, areas and measures are those of google-deepmind/surface-distance: marching cubes (Lorensen and Cline 1987,
doi 10.1145/37401.37422) on voxel centres. There is one element per corner whose eight adjacent voxels are neither all
foreground nor all background. The library reads distances from a map of the masks' joint box, which is the whole volume
if two voxels lie far apart. Here a k-d tree of the elements replaces the map if the map would be slower or too large.
Both give the same numbers (`tests/evaluation/test_surfaces.py`).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from semicml_tf.geometry.box import bounding_box

# A map takes 14 bytes per voxel: 240 MB at most, on each thread.
MAP_VOXELS = 2**24
# One query of a tree (1 to 2 us) takes as long as this number of voxels of a map (0.09 us each).
VOXELS_PER_ELEMENT = 20


@functools.lru_cache(maxsize=64)
def _areas_mm2(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The area of the surface element of each code of eight voxels, (256,)."""
    from surface_distance import lookup_tables

    areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    areas.setflags(write=False)
    return areas


def surface_elements(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The surface elements of a mask and their areas.

    Args:
        mask: (i, j, k) of bool, not empty. Outside the volume is background.
        spacing_mm: distance of voxels along i, j, k.

    Returns:
        Indices (3, elements) of the corners, where corner (i, j, k) lies between the voxels i - 1 and i, j - 1 and j,
        k - 1 and k; areas in mm2, (elements,).
    """
    from surface_distance import lookup_tables

    box = bounding_box(mask)
    padded = np.pad(mask[box].astype(np.uint8), 1)
    size = [length - 1 for length in padded.shape]
    # One bit for each of the eight voxels around a corner.
    codes = np.zeros(size, np.uint8)
    for (i, j, k), bit in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        codes += padded[i : i + size[0], j : j + size[1], k : k + size[2]] * np.uint8(bit)
    # Codes 0 (all background) and 255 (all foreground, 0 after adding 1 to a uint8) are no surface.
    places = np.flatnonzero((codes + np.uint8(1)) > 1)
    corners = np.stack(np.unravel_index(places, codes.shape)) + np.array([[side.start] for side in box])
    return corners, _areas_mm2(tuple(map(float, spacing_mm)))[codes.ravel()[places]]


def _nearest(corners: np.ndarray, others: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """The nearest of `others` to each of `corners`, of the shape of `corners`; any of them if there is a tie."""
    low = np.minimum(corners.min(axis=1), others.min(axis=1))[:, np.newaxis]
    shape = np.maximum(corners.max(axis=1), others.max(axis=1)) - low[:, 0] + 1
    if math.prod(shape) > min(MAP_VOXELS, VOXELS_PER_ELEMENT * corners.shape[1]):
        from scipy.spatial import KDTree

        # An unbalanced tree with large leaves is cheap to build, and twice as fast for points far from all elements.
        tree = KDTree(others.T * spacing_mm, leafsize=48, balanced_tree=False, compact_nodes=False)
        return others[:, tree.query(corners.T * spacing_mm)[1]]
    from scipy import ndimage

    # The shortest axis first: the transform then takes up to half the time.
    order = np.argsort(shape, kind="stable")
    elsewhere = np.ones(shape[order], bool)
    elsewhere[tuple((others - low)[order])] = False
    nearest = ndimage.distance_transform_edt(
        elsewhere, sampling=spacing_mm[order], return_distances=False, return_indices=True
    )
    return nearest[(np.argsort(order)[:, np.newaxis], *(corners - low)[order])] + low


def _distances(
    corners: np.ndarray, areas: np.ndarray, others: np.ndarray, spacing_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm of `corners` to the nearest of `others`, ascending, and the areas in the same order."""
    # Index differences times spacing: rounding then does not depend on the position in the volume.
    apart = (_nearest(corners, others, spacing_mm) - corners) * spacing_mm[:, np.newaxis]
    distances = np.sqrt(np.square(apart).sum(axis=0))
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
    spacing = np.asarray(spacing_mm, np.float64)
    true, true_areas = surface_elements(truth, spacing_mm)
    drawn, drawn_areas = surface_elements(prediction, spacing_mm)
    distances: dict[str, np.ndarray] = {}
    distances["distances_gt_to_pred"], distances["surfel_areas_gt"] = _distances(true, true_areas, drawn, spacing)
    distances["distances_pred_to_gt"], distances["surfel_areas_pred"] = _distances(drawn, drawn_areas, true, spacing)
    return distances


def pooled_mean_mm(surfaces: dict[str, np.ndarray]) -> float:
    """Average symmetric surface distance: over both surfaces' elements together, by area.

    Source: Heimann et al. 2009, doi 10.1109/TMI.2009.2013851: pooled, not the mean of two means.
    """
    distances = np.concatenate([surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]])
    areas = np.concatenate([surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]])
    return float(np.sum(distances * areas) / np.sum(areas))
