"""Facts of volumes and labels: closed forms, and independence of the array's orientation."""

import itertools
import json

import numpy as np
import pytest

from semicml_tf.conversion.verification.statistics import class_facts, image_facts, label_facts, voxels_outside
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.preprocessing.intensities import PERCENTILES

AFFINE = np.diag([-2.0, -2.5, 4.0, 1.0])
AFFINE[:3, 3] = [70, 80, -30]
GRID = Grid((30, 20, 12), AFFINE)


def turned(volume, grid, order, flips):
    """The same volume, stored in another order of its axes."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(order, flips)):
        matrix[source, axis] = -1 if flip else 1
        matrix[source, 3] += grid.shape[source] - 1 if flip else 0
    stored = np.transpose(volume, order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return np.ascontiguousarray(stored), Grid(stored.shape, grid.affine @ matrix)


def body():
    """HU: air, and a box of 20 x 10 x 6 voxels in which every whole number from 0 to 99 is equally frequent."""
    volume = np.full(GRID.shape, -1000, np.float32)
    volume[5:25, 4:14, 3:9] = np.random.default_rng(0).permutation(np.arange(1200) % 100).reshape(20, 10, 6)
    return volume


def test_image_facts_by_closed_form():
    facts = image_facts(body(), GRID, "hu")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["shape"] == [30, 20, 12] and facts["spacing_mm"] == [2, 2.5, 4] and facts["orientation"] == "LPS"
    assert facts["affine"] == AFFINE.tolist()
    assert facts["grid"] == {"shape": [12, 20, 30], "spacing_mm": [4, 2.5, 2], "extent_mm": [48, 50, 60]}
    assert facts["min"] == -1000 and facts["max"] == 99 and facts["integral"] is True
    assert facts["mean"] == 49.5 and facts["std"] == pytest.approx(np.sqrt((100**2 - 1) / 12), rel=1e-5)
    assert facts["percentiles"]["50"] in (49, 50) and facts["percentiles"]["0.5"] == 0
    assert facts["body"]["fraction"] == pytest.approx(1200 / 7200, rel=1e-5)
    assert facts["body"]["extent_mm"] == [24, 25, 40]
    # Edges of voxels 5 to 24, 4 to 13 and 3 to 8, in world space.
    assert facts["body"]["box_mm"] == [[70 - 49, 80 - 33.75, -30 + 10], [70 - 9, 80 - 8.75, -30 + 34]]


@pytest.mark.parametrize("scale", [1.0, 0.004, 300.0, -7.0])
def test_percentiles_are_those_of_a_sort(scale):
    volume = (np.random.default_rng(3).gamma(2, 2, GRID.shape) * scale - 0.2).astype(np.float32)
    facts = image_facts(volume, GRID, "percentile")
    expected = np.percentile(volume, PERCENTILES, method="nearest")
    np.testing.assert_allclose(list(facts["percentiles"].values()), expected, rtol=1 / 4096, atol=1e-7)
    assert facts["integral"] is False


def test_an_outlier_spoils_no_percentile():
    volume = body()
    volume[6, 6, 6] = np.finfo(np.float32).max
    facts = image_facts(volume, GRID, "hu")
    assert abs(facts["percentiles"]["50"] - 49.5) <= 1 and facts["percentiles"]["99.5"] == 99
    json.dumps(facts, allow_nan=False)


def test_facts_in_mm_do_not_depend_on_the_stored_orientation():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[7:12, 5:9, 4:6] = mask[20, 12, 8] = 1
    first = image_facts(body(), GRID, "hu")
    first_label = label_facts(mask, GRID, {"ct": (body(), GRID)})
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            volume, grid = turned(body(), GRID, order, flips)
            facts = image_facts(volume, grid, "hu")
            for name in set(first) - {"shape", "spacing_mm", "orientation", "affine"}:
                assert facts[name] == first[name], (name, order, flips)
            stored = turned(mask, GRID, order, flips)
            assert label_facts(*stored, {"ct": (volume, grid)}) == first_label
            assert label_facts(*stored, {"ct": (body(), GRID)}) == first_label


def test_facts_of_nothing():
    facts = image_facts(np.zeros(GRID.shape, np.float32), GRID, "percentile")
    assert facts["mean"] is None and facts["percentiles"] is None
    assert facts["body"] == {"fraction": 0, "extent_mm": None, "box_mm": None}
    facts = label_facts(np.zeros(GRID.shape, np.uint8), GRID, {"ct": (body(), GRID)})
    assert facts["voxels"] == facts["volume_ml"] == facts["lesions"] == 0 and facts["touches_border"] is False
    assert facts["images"]["ct"] == {"covered": 0, "mean": None, "std": None, "percentiles": None}


def test_label_facts_by_closed_form():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[7:12, 5:9, 4:6] = 1  # 10 x 10 x 8 mm
    mask[12, 9, 6] = 1  # touches it at a corner: the same lesion
    mask[20:22, 12, 8] = 1
    image = np.full(GRID.shape, 7.0, np.float32)
    image[7:12, 5:9, 4:6] = 3.0
    facts = label_facts(mask, GRID, {"ct": (image, GRID)})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["voxels"] == 43 and facts["volume_ml"] == pytest.approx(43 * 0.02) and facts["lesions"] == 2
    assert facts["largest_extent_mm"] == 12.5  # 6, 5 and 3 voxels of 2, 2.5 and 4 mm
    assert facts["extent_mm"] == [(9 - 4) * 4, (13 - 5) * 2.5, (22 - 7) * 2]
    assert facts["box_mm"] == [[70 - 43, 80 - 31.25, -30 + 14], [70 - 13, 80 - 11.25, -30 + 34]]
    assert facts["touches_border"] is False
    inside = facts["images"]["ct"]
    assert inside["covered"] == 1 and inside["mean"] == pytest.approx((40 * 3 + 3 * 7) / 43, rel=1e-5)
    assert inside["percentiles"] == {"0.5": 3, "50": 3, "99.5": 7}


def test_label_on_another_grid_than_the_image():
    """PET of double voxel size in plane: each of its voxels answers for four of the mask's."""
    affine = AFFINE @ np.diag([2.0, 2.0, 1.0, 1.0])
    affine[:3, 3] = (AFFINE @ [0.5, 0.5, 0, 1])[:3]
    coarse = Grid((15, 10, 6), affine)  # shows only half of the slices
    image = np.arange(15, dtype=np.float32)[:, None, None] * np.ones((1, 10, 6), np.float32)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[4:8, 0:4, 5:7] = 1
    facts = label_facts(mask, GRID, {"pet": (image, coarse)})
    assert facts["images"]["pet"] == {
        "covered": 0.5,
        "mean": 2.5,
        "std": 0.5,
        "percentiles": {"0.5": 2, "50": 2.5, "99.5": 3},
    }
    assert facts["touches_border"] is True


def test_one_slice_is_no_border():
    grid = Grid((30, 20, 1), AFFINE)
    mask = np.zeros(grid.shape, np.uint8)
    mask[7:12, 5:9] = 1
    assert label_facts(mask, grid, {})["touches_border"] is False
    mask[0] = 1
    assert label_facts(mask, grid, {})["touches_border"] is True


def test_voxels_of_classes_and_ignored_voxels_are_counted():
    codes = np.zeros((2, 3, 4), np.uint8)
    assert class_facts(codes, PLAIN) == {}
    regions = LabelDefinition({"wt": (1, 2), "tc": (2,)}, ignore_value=255)
    codes[0, 0], codes[0, 1], codes[1, 2] = 1, 3, regions.ignored_code
    assert class_facts(codes, regions) == {"classes": {"wt": 8, "tc": 4}, "ignored": 4}
    organs = LabelDefinition({"liver": (1,), "kidney": (2,)}, "softmax")
    codes[codes == 3], codes[codes == regions.ignored_code] = 2, 0
    assert class_facts(codes, organs) == {"classes": {"liver": 4, "kidney": 4}}


def test_voxels_of_a_region_outside_another():
    labels = LabelDefinition({"ptv": (1, 3), "gtv": (2, 3), "oar": (4,)}, ignore_value=9)
    codes = labels.encode(np.array([[[0, 1, 1, 3, 3, 3, 2, 4, 9]]]))
    assert voxels_outside(codes, labels) == {
        "ptv": {"gtv": 2, "oar": 5},
        "gtv": {"ptv": 1, "oar": 4},
        "oar": {"ptv": 1, "gtv": 1},
    }
    assert voxels_outside(np.zeros_like(codes), labels)["ptv"] == {"gtv": 0, "oar": 0}
