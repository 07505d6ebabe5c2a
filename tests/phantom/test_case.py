import functools

import numpy as np
import pytest
from scipy import ndimage

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample
from semicml_tf.phantom import lesions
from semicml_tf.phantom.case import BODIES, generate
from semicml_tf.phantom.scene import Texture, world_points
from semicml_tf.phantom.shapes import Blob

SEED = 11
WHOLE_TUMOUR_CLEAREST = {"trunk": "pet", "head": "flair"}


def _dsc(prediction, truth):
    return 2 * np.logical_and(prediction, truth).sum() / (prediction.sum() + truth.sum())


@pytest.fixture(scope="module")
def trunks():
    """30 patients with a lesion in the field of view, all modalities on CT's grid."""
    found = []
    for index in range(40):
        case = generate(SEED, index, spacing_mm=(4, 4, 4), mr=True)
        if case.label.any() and len(found) < 30:
            ct = case.images.pop("ct")[0]
            others = {
                name: resample(volume.astype(np.float32), grid, case.label_grid, outside=0.0)
                for name, (volume, grid) in case.images.items()
            }
            found.append({"ct": ct, **others, "label": case.label, "grid": case.label_grid})
    assert len(found) == 30
    return found


@functools.cache
def drawn(body, index, oblique=False):
    """A case that several tests look at; to be read only."""
    return generate(SEED, index, body=body, oblique=oblique)


@pytest.mark.parametrize("body", BODIES)
def test_a_case_is_a_function_of_seed_and_index(body):
    coarse = {"spacing_mm": (6, 6, 6), "oblique": True}
    first, again, other = (generate(seed, 3, body=body, **coarse) for seed in (SEED, SEED, SEED + 1))
    for modality, (volume, grid) in first.images.items():
        np.testing.assert_array_equal(volume, again.images[modality][0])
        np.testing.assert_array_equal(grid.affine, again.images[modality][1].affine)
        assert volume.shape == grid.shape
        assert not np.array_equal(volume, other.images[modality][0])
    np.testing.assert_array_equal(first.label, again.label)


def test_units_and_grids_of_the_trunk():
    case = drawn("trunk", 0)
    (ct, fine), (pet, coarse) = case.images["ct"], case.images["pet"]
    assert ct.dtype == np.int16 and pet.dtype == np.float32 and case.label.dtype == np.uint8
    assert np.median(ct[ct < -800]) == pytest.approx(-1000, abs=15)
    assert pet.min() >= 0 and 0.5 < np.median(pet[pet > 0.3]) < 2
    assert all(np.array(coarse.spacing_mm) > 1.2 * np.array(fine.spacing_mm))
    assert not np.allclose(coarse.affine[:3, 3], fine.affine[:3, 3], atol=0.5)
    assert fine.shape == (64, 64, 24) and fine.spacing_mm == pytest.approx((3, 3, 4))
    assert set(np.unique(case.label)) == {0, 1}


def test_the_coarse_grid_covers_the_fine_one():
    for index in range(5):
        images = drawn("trunk", index).images
        corners = world_points(images["ct"][1])
        coarse = images["pet"][1]
        voxels = (np.c_[corners, np.ones(len(corners))] @ np.linalg.inv(coarse.affine).T)[:, :3]
        assert voxels.min() >= -0.5 and np.all(voxels.max(axis=0) <= np.array(coarse.shape) - 0.5)


def test_the_head_is_stripped_and_labelled_as_in_brats():
    cases = [drawn("head", index) for index in range(6)]
    for case in cases:
        volumes = [volume for volume, _ in case.images.values()]
        assert all(grid is case.label_grid for _, grid in case.images.values())
        assert all(np.array_equal(volume == 0, volumes[0] == 0) for volume in volumes)
        assert 0.05 < np.mean(volumes[0] == 0) < 0.95
        assert not np.any(case.label[volumes[0] == 0])
    assert set(np.unique([case.label for case in cases])) == {0, 1, 2, 4}


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_images_and_label_agree_in_world_space(body, oblique):
    checked = 0
    for index in range(8):
        case = drawn(body, index, oblique)
        image, grid = case.images[WHOLE_TUMOUR_CLEAREST[body]]
        lesion = case.label > 0
        if lesion.sum() < 100:
            continue
        shell = ndimage.binary_dilation(lesion, iterations=5) & ~ndimage.binary_dilation(lesion, iterations=3)
        seen = resample(image, grid, case.label_grid)
        assert np.median(seen[lesion]) > 1.3 * np.median(seen[shell])
        checked += 1
        if checked == 4:
            return
    raise AssertionError(f"{checked} of 8 cases have a lesion of 100 voxels, expected at least 4")


def test_oblique_grids_differ_in_tilt_and_index_order():
    cases = [generate(SEED, index, oblique=True, spacing_mm=(6, 6, 6)) for index in range(6)]
    orders = {case.label_grid.reordered()[1:] for case in cases}
    tilts = []
    for case in cases:
        axes = case.label_grid.affine[:3, :3] / 6
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        tilts.append(np.rad2deg(np.arccos(np.clip(np.abs(axes).max(axis=0), 0, 1))).max())
    assert len(orders) > 3 and max(tilts) > 4 and max(tilts) < 20.01


def test_share_of_empty_cases():
    for seed in range(5):
        empty = [lesions.is_empty(seed, index, 0.25) for index in range(40)]
        assert sum(empty) == 10
        assert all(sum(empty[start : start + 8]) == 2 for start in range(0, 40, 8))
    assert not any(lesions.is_empty(0, index, 0.0) for index in range(20))
    case = generate(SEED, 0, empty_fraction=1.0)
    assert not case.label.any() and case.images["pet"][0].max() > 2


def test_many_slices_have_no_lesion(trunks):
    share = np.mean([case["label"].any(axis=(0, 1)).mean() for case in trunks])
    assert 0.2 < share < 0.8


def test_the_field_of_view_does_not_reveal_the_position_of_lesions(trunks):
    places = []
    for case in trunks:
        components, count = ndimage.label(case["label"])
        centres = ndimage.center_of_mass(case["label"], components, range(1, count + 1))
        places += [(np.array(c) + 0.5) / case["label"].shape - 0.5 for c in centres]
    # The mean of n places, uniform over [-1/2, 1/2], has a standard deviation of 0.29 / sqrt(n).
    assert np.all(np.abs(np.mean(places, axis=0)) < 3.5 * 0.29 / np.sqrt(len(places)))
    best = 0.0
    for margin in np.arange(0, 0.45, 0.05):
        scores = []
        for case in trunks:
            places = (np.indices(case["label"].shape).reshape(3, -1).T + 0.5) / case["label"].shape - 0.5
            ellipsoid = ((places / (0.5 - margin)) ** 2).sum(axis=1).reshape(case["label"].shape) < 1
            scores.append(_dsc(ellipsoid, case["label"]))
        best = max(best, np.mean(scores))
    assert best < 0.35


@pytest.mark.parametrize("modality, low, high", [("ct", -200, 400), ("pet", 0.5, 15), ("mr", 50, 1200)])
def test_no_single_threshold_finds_the_lesions(trunks, modality, low, high):
    levels = np.linspace(low, high, 60)
    scores = [[_dsc(case[modality] > level, case["label"]) for case in trunks] for level in levels]
    assert np.mean(scores, axis=1).max() < 0.5


def test_the_gap_between_the_modalities(trunks):
    """Contrast over noise, within a lesion against tissue: high in PET, low in CT, MR between them."""
    contrast = {"ct": [], "pet": [], "mr": []}
    for case in trunks:
        lesion = case["label"] > 0
        tissue = (
            (case["ct"] > 0) & (case["ct"] < 90) & (case["pet"] < 2) & ~ndimage.binary_dilation(lesion, iterations=2)
        )
        for modality, found in contrast.items():
            image = case[modality]
            middle = np.median(image[tissue])
            # Not the standard deviation: some tissue of a CT or PET value is fluid, which is bright in MR.
            noise = 1.4826 * np.median(np.abs(image[tissue] - middle))
            found.append((np.median(image[lesion]) - middle) / noise)
    ct, pet, mr = (np.median(contrast[name]) for name in ("ct", "pet", "mr"))
    assert pet > 2 * mr and mr > 1.2 * ct > 1.2


def test_mr_changes_neither_ct_nor_pet():
    how = {"spacing_mm": (6, 6, 6), "oblique": True}
    without, with_mr = generate(SEED, 3, **how), generate(SEED, 3, **how, mr=True)
    assert list(without.images) == ["ct", "pet"] and list(with_mr.images) == ["ct", "pet", "mr"]
    for name, (volume, grid) in without.images.items():
        np.testing.assert_array_equal(volume, with_mr.images[name][0])
        np.testing.assert_array_equal(grid.affine, with_mr.images[name][1].affine)
    np.testing.assert_array_equal(without.label, with_mr.label)
    mr = with_mr.images["mr"][0]
    assert mr.dtype == np.int16 and mr.min() == 0 and mr.max() > 500


def test_a_blob_without_waves_is_an_ellipsoid():
    radius = 7.0
    blob = Blob(np.array([1.0, 2, 3]), np.full(3, radius), np.eye(3), np.zeros((1, 3)), np.full(1, np.pi / 2), 0.1)
    points = np.random.default_rng(0).normal(scale=10, size=(50, 3))
    expected = np.linalg.norm(points - [1, 2, 3], axis=1) - radius
    np.testing.assert_allclose(blob.distance_mm(points), expected, atol=1e-9)


def test_texture_has_mean_0_and_deviation_1():
    grid = Grid((60, 60, 60), np.diag([3.0, 3, 3, 1]))
    values = Texture.random(np.random.default_rng(0), (9, 26)).at(world_points(grid))
    assert abs(values.mean()) < 0.05 and values.std() == pytest.approx(1, abs=0.1)
