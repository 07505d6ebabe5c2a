"""The no-network baselines recover known ellipsoids and thresholds."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation import trivial_baselines
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import LESION
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.case_record import CaseRecord
from tests.support.evaluation_data import CONSTANTS, NORMALISATION, oblique_grid


def _record(grid, label, images=None, constants=CONSTANTS):
    images = images or {name: np.zeros(grid.shape, np.float16) for name in NORMALISATION}
    return CaseRecord("a", grid, images, constants, grid, label.astype(np.uint8), label.astype(np.uint8))


def _network_grid(shape, spacing_mm):
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


def _threshold(records, normalisation):
    _, (_, found) = trivial_baselines.fit(records, normalisation).items()
    return found[LESION]


def test_ellipsoid_has_the_volume_and_the_extent_of_its_formula():
    grid = _network_grid((40, 60, 50), (2.0, 1.0, 1.5))
    mask = trivial_baselines.ellipsoid(grid, 10.0)
    expected_ml = 4 / 3 * np.pi * (40 - 10) * (30 - 10) * (37.5 - 10) / 1000
    assert mask.sum() * grid.voxel_volume_ml == pytest.approx(expected_ml, rel=0.02)
    assert np.ptp(np.flatnonzero(mask.any(axis=(1, 2)))) + 1 == 30
    for axis in range(3):
        np.testing.assert_array_equal(mask, np.flip(mask, axis))
    assert not trivial_baselines.ellipsoid(grid, 30.0).any()


def test_fit_finds_the_margin_of_lesions_that_fill_the_field_of_view():
    grids = [_network_grid((30, 64, 50), (3.0, 1.5, 2.0)), _network_grid((24, 80, 70), (4.0, 1.0, 1.0))]
    records = [_record(grid, trivial_baselines.ellipsoid(grid, 17.0)) for grid in grids]
    fitted = trivial_baselines.fit(records, NORMALISATION)[trivial_baselines.ELLIPSOID_NAME][LESION]
    assert fitted.margin_mm == pytest.approx(17.0, abs=1.0)
    assert fitted.labelled_dice > 0.99
    np.testing.assert_array_equal(fitted(records[0]), trivial_baselines.ellipsoid(grids[0], fitted.margin_mm))


def test_fit_recovers_a_planted_threshold_in_native_units():
    grid, noise = _network_grid((10, 30, 30), (3.0, 2.0, 2.0)), np.random.default_rng(3)
    records = []
    for _ in range(3):
        suv = noise.uniform(0.0, 15.0, grid.shape)
        suv = np.where(np.abs(suv - 4.2) < 0.15, 9.0, suv)  # a gap, so that float16 decides nothing
        images = {"pet": (suv - 7.5) / 7.5, "ct": noise.uniform(-1, 1, grid.shape)}
        images = {name: image.astype(np.float16) for name, image in images.items()}
        records.append(_record(grid, suv > 4.2, images))
    fitted = _threshold(records, NORMALISATION)
    assert (fitted.modality, fitted.unit) == ("pet", "SUV")
    assert fitted.native == pytest.approx(4.2, abs=0.05)  # the middle of the gap, not its end
    assert fitted.labelled_dice == 1.0
    np.testing.assert_array_equal(fitted(records[0]), records[0].label)


def test_threshold_of_self_normalised_images_is_a_z_score():
    grid, noise = _network_grid((6, 20, 20), (1.0, 1.0, 1.0)), np.random.default_rng(4)
    z = noise.normal(size=grid.shape).astype(np.float16)
    constants = {"t2": dataclasses.replace(CONSTANTS["ct"], center=300.0, scale=80.0)}
    record = _record(grid, z > 1.0, {"t2": z}, constants)
    fitted = _threshold([record], {"t2": Normalisation("percentile", 0.5, 99.5)})
    assert fitted.unit == "z"
    assert fitted.native == fitted.normalised == pytest.approx(1.0, abs=0.02)


def test_scan_over_thresholds_equals_counting_voxels():
    noise = np.random.default_rng(5)
    image, label = noise.normal(size=(4, 9, 9)).astype(np.float16), noise.random((4, 9, 9)) > 0.7
    scanned = trivial_baselines._threshold_dice(image, label)
    for index in (1700, 2000, 2041, 2300):
        mask = image.astype(np.float32) > trivial_baselines._THRESHOLDS[index]
        assert scanned[index] == pytest.approx(2 * (mask & label).sum() / (mask.sum() + label.sum()))


def test_patients_without_lesion_do_not_change_the_fit():
    """Nine of ten patients have no lesion. If they counted, an empty mask would be the best baseline."""
    grid = _network_grid((10, 20, 20), (3.0, 2.0, 2.0))
    records = [_record(grid, trivial_baselines.ellipsoid(grid, 5.0))] + [_record(grid, np.zeros(grid.shape))] * 9
    fitted = trivial_baselines.fit(records, NORMALISATION)[trivial_baselines.ELLIPSOID_NAME][LESION]
    assert fitted.labelled_dice == pytest.approx(1.0)
    with pytest.raises(UserError, match="with a lesion"):
        trivial_baselines.fit(records[1:], NORMALISATION)


def test_ellipsoid_follows_an_oblique_grid():
    native = oblique_grid()
    grid = native.for_network((3.0, 1.5, 1.5))
    _, order, flips = native.reordered()
    turned = np.flip(
        np.transpose(trivial_baselines.ellipsoid(native, 4.0), order), [a for a, f in enumerate(flips) if f]
    )
    np.testing.assert_array_equal(trivial_baselines.ellipsoid(grid, 4.0), turned)
