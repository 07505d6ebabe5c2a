"""Surface distances equal those of google-deepmind/surface-distance, by a map and by a tree."""

import numpy as np
import pytest
import surface_distance

from benchmarks import mask_pairs
from semicml_tf.evaluation import surfaces
from semicml_tf.evaluation.metrics.hd95_mm import PERCENT


@pytest.mark.parametrize("map_voxels", [surfaces.MAP_VOXELS, 0], ids=["map", "tree"])
def test_the_library_gives_the_same_distances_areas_and_measures(monkeypatch, map_voxels):
    monkeypatch.setattr(surfaces, "MAP_VOXELS", map_voxels)
    monkeypatch.setattr(surfaces, "VOXELS_PER_ELEMENT", 10**6)
    compared = 0
    for pair in mask_pairs.pairs():
        if not (pair.prediction.any() and pair.truth.any()):
            continue
        found = surfaces.surface_distances(pair.prediction, pair.truth, pair.spacing_mm)
        expected = surface_distance.compute_surface_distances(pair.truth, pair.prediction, pair.spacing_mm)
        assert set(found) == set(expected)
        for way, whose in (("gt_to_pred", "gt"), ("pred_to_gt", "pred")):
            assert found[f"distances_{way}"] == pytest.approx(expected[f"distances_{way}"], rel=1e-12, abs=1e-12)
            # Equal distances may round otherwise, and their elements then stand in another order.
            areas = found[f"surfel_areas_{whose}"], expected[f"surfel_areas_{whose}"]
            assert np.array_equal(*map(np.sort, areas))
        for measure, level in (
            (surface_distance.compute_robust_hausdorff, PERCENT),
            (surface_distance.compute_surface_dice_at_tolerance, 2.1),  # no distance of these grids
        ):
            assert measure(found, level) == pytest.approx(measure(expected, level), rel=1e-12)
        means = surface_distance.compute_average_surface_distance(expected)
        assert min(means) - 1e-12 <= surfaces.pooled_mean_mm(found) <= max(means) + 1e-12
        compared += 1
    assert compared >= 35


def test_a_cube_has_the_elements_of_its_corners_edges_and_faces():
    """n voxels a side: (n + 1)^3 corners of voxels less (n - 1)^3 that lie inside."""
    mask = np.zeros((9, 9, 9), bool)
    mask[2:6, 3:7, 4:8] = True
    corners, areas = surfaces.surface_elements(mask, (1.0, 2.0, 3.0))
    assert corners.shape == (3, len(areas)) and len(areas) == 5**3 - 3**3
    assert corners.min(axis=1).tolist() == [2, 3, 4] and corners.max(axis=1).tolist() == [6, 7, 8]
    # Marching cubes cut a cube's edges and corners: its faces shrink to those between the outermost voxels' centres.
    faces = 2 * (3 * 3 * (1 * 2 + 2 * 3 + 1 * 3))
    box = 2 * (4 * 4 * (1 * 2 + 2 * 3 + 1 * 3))
    assert faces < areas.sum() < box
