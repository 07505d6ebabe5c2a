"""Scores of masks whose overlap and distances are known in closed form."""

import dataclasses
import itertools

import numpy as np
import pytest

from semicml_tf.evaluation.metrics.case_score import score
from semicml_tf.evaluation.metrics.catalogue import METRICS
from semicml_tf.evaluation.metrics.masks import MaskPair
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.agreement import dice


def _box(shape, corner, size):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(c, c + s) for c, s in zip(corner, size))] = 1
    return mask


def _ball(size, radius_mm, spacing_mm):
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing_mm)]
    return sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) <= radius_mm**2


def _grid(shape, spacing_mm):
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


def surface_distances_mm(prediction, truth, spacing_mm):
    masks = MaskPair.of(prediction, truth, _grid(truth.shape, spacing_mm))
    return METRICS["hd95_mm"].compute(masks), METRICS["assd_mm"].compute(masks)


def surface_dice(prediction, truth, spacing_mm, tolerance_mm):
    return METRICS["surface_dice"].compute(MaskPair.of(prediction, truth, _grid(truth.shape, spacing_mm), tolerance_mm))


def test_dice_of_known_overlaps():
    a, b = _box((8, 8, 8), (0, 0, 0), (4, 4, 4)), _box((8, 8, 8), (2, 0, 0), (4, 4, 4))
    assert dice(a, b) == 0.5
    assert dice(a, a) == 1.0
    assert dice(a, _box((8, 8, 8), (4, 4, 4), (4, 4, 4))) == 0.0
    assert dice(a, np.zeros_like(a)) == 0.0
    assert dice(np.zeros_like(a), np.zeros_like(a)) == 1.0
    # 255 and 1 are both foreground: 8-bit products or sums would overflow.
    assert dice(a * 255, a) == 1.0
    with pytest.raises(ValueError, match="one shape"):
        dice(a, a[:4])


def test_ppv_and_sensitivity_tell_over_from_under():
    truth, prediction = _box((8, 8, 8), (0, 0, 0), (2, 4, 4)), _box((8, 8, 8), (0, 0, 0), (8, 4, 4))
    over = score("a", prediction, truth, _grid((8, 8, 8), (1, 2, 3)))
    under = score("a", truth, prediction, _grid((8, 8, 8), (1, 2, 3)))
    assert (over.ppv, over.sensitivity) == (0.25, 1.0)
    assert (under.ppv, under.sensitivity) == (1.0, 0.25)
    assert over.dice == under.dice == pytest.approx(0.4)
    assert over.truth_ml == pytest.approx(32 * 6 / 1000)
    assert over.prediction_ml == pytest.approx(128 * 6 / 1000)


@pytest.mark.parametrize("axis", range(3))
def test_plates_are_apart_by_their_distance_in_mm(axis):
    """Two parallel thin plates: all of their large faces lie `offset` apart, in units of that axis."""
    spacing_mm, shape, offset = (1.5, 2.5, 4.0), [24, 24, 24], 6
    size, shape = [20, 20, 20], tuple(shape)
    size[axis] = 1
    corner, moved = [2, 2, 2], [2, 2, 2]
    moved[axis] += offset
    hd95, assd = surface_distances_mm(_box(shape, corner, size), _box(shape, moved, size), spacing_mm)
    # Each plate has a near and a far face, one voxel apart: (offset - 1) and offset voxels off.
    assert hd95 == pytest.approx(offset * spacing_mm[axis])
    assert assd == pytest.approx((offset - 0.5) * spacing_mm[axis], rel=0.01)


def test_boxes_offset_along_one_axis():
    """A box moved by d along an axis: its two faces across lie d off, the sides coincide but for d at the end."""
    shape, spacing_mm, d = (60, 40, 40), (2.0, 1.0, 1.0), 3
    a, b = _box(shape, (10, 5, 5), (30, 30, 30)), _box(shape, (10 + d, 5, 5), (30, 30, 30))
    hd95, assd = surface_distances_mm(a, b, spacing_mm)
    assert hd95 == pytest.approx(d * 2.0)
    # Faces 2 x 30 x 30 mm2 at 6 mm; sides 4 x 60 x 30 mm2, of which 6 of 60 mm overhang at 0..6 mm (mean 3).
    # But the overhang's nearest point may lie inside the other box's end face: at x mm out, x mm away. A face's
    # own nearest point is 6 mm off along the axis, or nearer on the sides: min(6, way to the rim).
    ways = np.minimum.outer(np.minimum(np.arange(0.5, 30), 30 - np.arange(0.5, 30)), np.full(30, 99.0))
    to_rim = np.minimum(ways, ways.T)
    leaving, entering = 900 * 6.0, np.minimum(6.0, to_rim).sum()
    sides = 4 * 30 * 6 * 3.0
    expected = (leaving + entering + sides) / (2 * 900 + 4 * 60 * 30)
    assert assd == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (2.0, 1.0, 1.0), (1.0, 0.8, 1.6)])
def test_concentric_spheres_are_apart_by_the_difference_of_radii(spacing_mm):
    size = [int(2 * 22 / s) + 3 for s in spacing_mm]
    small, large = _ball(size, 12.0, spacing_mm), _ball(size, 20.0, spacing_mm)
    hd95, assd = surface_distances_mm(small, large, spacing_mm)
    # Surface elements sit at the voxels' corners in a layer one voxel thick, and the nearest one counts: less than
    # the true distance by about half a voxel, which must shrink with the voxels.
    assert 8.0 - 0.6 * max(spacing_mm) < assd < 8.0
    assert 8.0 - 0.6 * max(spacing_mm) < hd95 <= 8.0 + max(spacing_mm)


def test_identical_masks_are_perfect():
    mask = _ball((20, 20, 20), 6.0, (1.0, 1.0, 1.0))
    found = score("a", mask, mask, _grid((20, 20, 20), (1, 1, 1)))
    assert (found.outcome, found.dice, found.ppv, found.sensitivity) == ("both present", 1.0, 1.0, 1.0)
    assert (found.hd95_mm, found.assd_mm) == (0.0, 0.0)


def test_iou_and_volume_error_of_known_overlaps():
    # 32 and 64 voxels of 6 mm3, 32 in common.
    truth, prediction = _box((8, 8, 8), (0, 0, 0), (2, 4, 4)), _box((8, 8, 8), (0, 0, 0), (4, 4, 4))
    grid = _grid((8, 8, 8), (1, 2, 3))
    over, under = score("a", prediction, truth, grid), score("a", truth, prediction, grid)
    assert over.iou == under.iou == 0.5
    assert over.volume_error_ml == pytest.approx(0.192) and over.volume_error_relative == pytest.approx(1.0)
    assert under.volume_error_ml == pytest.approx(-0.192) and under.volume_error_relative == pytest.approx(-0.5)
    assert over.iou == pytest.approx(over.dice / (2 - over.dice))


@pytest.mark.parametrize("axis", range(3))
def test_surface_dice_of_plates_jumps_where_the_tolerance_reaches_them(axis):
    """Near faces lie 3 voxels apart, far ones 4 from the nearest of the other plate."""
    spacing_mm, size, corner, moved = (1.5, 2.5, 4.0), [20, 20, 20], [2, 2, 2], [2, 2, 2]
    size[axis] = 1
    moved[axis] += 4
    plates = [_box((24, 24, 24), where, size) for where in (corner, moved)]
    near, far = 3 * spacing_mm[axis], 4 * spacing_mm[axis]

    def at(tolerance_mm):
        return surface_dice(*plates, spacing_mm, tolerance_mm)

    assert at(near - 0.01) == 0.0
    assert at(near + 0.01) == pytest.approx(0.5, abs=0.001)  # but for the rims
    assert at(far + 0.01) == 1.0


def test_surface_dice_of_spheres_is_one_within_their_distance_and_nought_below():
    size = (48, 48, 48)
    small, large = _ball(size, 12.0, (1, 1, 1)), _ball(size, 20.0, (1, 1, 1))
    # 8 mm apart, but for where voxels put their surfaces: within half a voxel's diagonal on either side.
    assert surface_dice(small, large, (1, 1, 1), 8.0 - np.sqrt(3)) == 0.0
    assert surface_dice(small, large, (1, 1, 1), 8.0 + np.sqrt(3)) == 1.0


def test_lesions_are_components_that_share_a_face_an_edge_or_a_corner():
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[1:3, 1:3, 1:3] = truth[3, 3, 3] = 1  # one lesion: they meet at a corner
    truth[8:10, 1:3, 1:3] = 1  # another
    truth[8:10, 8:10, 8:10] = 1  # and one that is missed
    prediction = np.zeros_like(truth)
    prediction[3:9, 1:4, 1:4] = 1  # one component that finds both
    prediction[1, 10, 10] = prediction[5, 10, 10] = 1  # two that find nothing
    found = score("a", prediction, truth, _grid((12, 12, 12), (1, 1, 1)))
    assert (found.lesions_true, found.lesions_found, found.lesions_missed) == (3, 2, 1)
    assert (found.lesions_predicted, found.lesions_false) == (3, 2)
    # The other way round: one of the three is "found", and of the two that find it neither is false.
    turned = score("a", truth, prediction, _grid((12, 12, 12), (1, 1, 1)))
    assert (turned.lesions_true, turned.lesions_found, turned.lesions_false) == (3, 1, 1)


def _turned(mask, order, flips):
    return np.flip(np.transpose(mask, order), [axis for axis, flip in enumerate(flips) if flip])


def test_no_score_depends_on_orientation_and_exchange_turns_each_into_its_counterpart():
    random = np.random.RandomState(1)
    shape, spacing_mm = (14, 16, 18), (1.0, 2.0, 3.5)
    a, b = (random.randint(0, 20, shape) == 0 for _ in range(2))
    a[2:8, 3:12, 4:9] = b[4:10, 5:11, 0:7] = True
    first = score("a", a, b, _grid(shape, spacing_mm))
    # Each permutation with other flips; all 48 of the distances are gone through below.
    for order, flips in zip(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)):
        masks = (_turned(mask, order, flips) for mask in (a, b))
        sides = [spacing_mm[axis] for axis in order]
        found = score("a", *masks, _grid(tuple(shape[axis] for axis in order), sides))
        for name, value in dataclasses.asdict(first).items():
            other = getattr(found, name)
            assert other == value if isinstance(value, (str, int)) else other == pytest.approx(value), name
    turned = score("a", b, a, _grid(shape, spacing_mm))
    for name in ("dice", "iou", "hd95_mm", "assd_mm", "surface_dice"):
        assert getattr(turned, name) == pytest.approx(getattr(first, name)), name
    assert (turned.ppv, turned.sensitivity) == (first.sensitivity, first.ppv)
    assert turned.volume_error_ml == -first.volume_error_ml
    assert turned.lesions_missed == first.lesions_false and turned.lesions_true == first.lesions_predicted


def test_symmetric_under_exchange_of_prediction_and_truth():
    a, b = _box((20, 20, 20), (2, 3, 4), (6, 9, 5)), _ball((20, 20, 20), 7.0, (1, 1, 1))
    assert surface_distances_mm(a, b, (1.0, 2.0, 3.0)) == pytest.approx(surface_distances_mm(b, a, (1.0, 2.0, 3.0)))


def test_the_same_in_every_orientation():
    spacing_mm = (1.0, 2.0, 3.5)
    a, b = _box((16, 18, 20), (2, 3, 4), (6, 9, 5)), _box((16, 18, 20), (4, 3, 7), (8, 6, 9))
    expected = surface_distances_mm(a, b, spacing_mm)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            axes = [axis for axis, flip in enumerate(flips) if flip]
            turned = [np.flip(np.transpose(mask, order), axes) for mask in (a, b)]
            assert surface_distances_mm(*turned, [spacing_mm[axis] for axis in order]) == pytest.approx(expected)


def test_surroundings_do_not_matter():
    """The masks' joint box decides: more background around them changes no distance."""
    a, b = _box((12, 12, 12), (2, 2, 2), (4, 5, 6)), _box((12, 12, 12), (5, 3, 2), (4, 5, 6))
    wide = [np.pad(mask, ((9, 0), (0, 7), (3, 5))) for mask in (a, b)]
    spacing_mm = (1.0, 2.0, 3.0)
    assert surface_distances_mm(*wide, spacing_mm) == pytest.approx(surface_distances_mm(a, b, spacing_mm))


def test_a_mask_at_the_border_of_the_volume():
    a, b = _box((10, 10, 10), (0, 0, 0), (10, 10, 4)), _box((10, 10, 10), (0, 0, 0), (10, 10, 6))
    hd95, _ = surface_distances_mm(a, b, (1.0, 1.0, 2.0))
    assert hd95 == pytest.approx(4.0)


def test_empty_masks_by_the_policy():
    grid = _grid((10, 10, 10), (1.0, 2.0, 2.0))
    none, some = np.zeros((10, 10, 10), np.uint8), _box((10, 10, 10), (1, 1, 1), (2, 2, 2))
    diagonal = np.sqrt(10**2 + 20**2 + 20**2)

    both = score("a", none, none, grid)
    assert (both.outcome, both.dice, both.hd95_mm, both.assd_mm) == ("both empty", 1.0, 0.0, 0.0)
    assert both.ppv is None and both.sensitivity is None
    assert (both.iou, both.surface_dice, both.volume_error_ml, both.volume_error_relative) == (1.0, 1.0, 0.0, None)
    assert both.lesions_true == both.lesions_predicted == both.lesions_missed == both.lesions_false == 0

    missed = score("a", none, some, grid)
    assert (missed.outcome, missed.dice, missed.ppv, missed.sensitivity) == ("missed", 0.0, 0.0, 0.0)
    assert missed.hd95_mm == missed.assd_mm == pytest.approx(diagonal)
    assert (missed.iou, missed.surface_dice, missed.volume_error_relative) == (0.0, 0.0, -1.0)
    assert (missed.lesions_true, missed.lesions_missed, missed.lesions_false) == (1, 1, 0)

    alarm = score("a", some, none, grid)
    assert (alarm.outcome, alarm.dice, alarm.ppv, alarm.sensitivity) == ("false alarm", 0.0, 0.0, None)
    assert alarm.hd95_mm == alarm.assd_mm == pytest.approx(diagonal)
    assert (alarm.iou, alarm.surface_dice, alarm.volume_error_relative) == (0.0, 0.0, None)
    assert (alarm.lesions_predicted, alarm.lesions_false, alarm.lesions_missed) == (1, 1, 0)
