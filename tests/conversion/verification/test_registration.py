"""Uptake in the air beside CT's body: found where CT and PET are displaced, and only there."""

import numpy as np
import pytest
from scipy import ndimage

from semicml_tf.conversion.verification.examine_case import examine
from semicml_tf.conversion.verification.registration import beside, uptake_in_air
from semicml_tf.geometry.grid import Grid
from tests.support import verification_cases as cases

SUPERFICIAL_MM = (22, 0, 0)  # a lesion of 10 mm that just reaches the skin, at 32 mm


def blurred_pet(lesion_mm=SUPERFICIAL_MM, fwhm_mm=6.0):
    return ndimage.gaussian_filter(cases.pet(lesion_mm=lesion_mm) * 2, fwhm_mm / 2.355 / 4.0)


def shifted(by_mm):
    affine = cases.AFFINE.copy()
    affine[:3, 3] += by_mm
    return Grid(cases.SHAPE, affine)


@pytest.mark.parametrize("fwhm_mm", [4, 6, 8])
def test_a_lesion_at_the_skin_is_no_uptake_in_air(fwhm_mm):
    found = uptake_in_air(blurred_pet(fwhm_mm=fwhm_mm), cases.GRID, cases.ct(), cases.GRID)
    assert not found.noticeable


def test_displaced_by_10_mm_it_is_and_the_volume_is_counted():
    pet, ct = blurred_pet(), cases.ct()
    found = uptake_in_air(pet, shifted((10, 0, 0)), ct, cases.GRID)
    assert found.noticeable and found.peak_suv > 2.5
    # Moved by whole voxels, what is found are the hot voxels of the image in the air of the moved CT.
    found = uptake_in_air(pet, shifted((12, 0, 0)), ct, cases.GRID)
    expected = (pet >= 2.5) & (np.roll(ct, 3, axis=0) < -900) & (pet >= 0.5 * ndimage.maximum_filter(pet, 9))
    assert found.volume_ml == pytest.approx(expected.sum() * 0.064) and expected.sum() > 3
    assert found.peak_suv == pytest.approx(pet[expected].max())
    assert beside(found.points_mm, cases.label(SUPERFICIAL_MM), cases.GRID)
    assert not beside(found.points_mm, cases.label((-22, 0, 0)), cases.GRID)


def test_the_order_of_the_axes_does_not_matter():
    pet, ct, grid = blurred_pet(), cases.ct(), shifted((11, 1, 0))  # no voxel half-way between two
    plain = uptake_in_air(pet, grid, ct, cases.GRID)
    permute = np.array([[0, 0, -1, cases.SHAPE[0] - 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    turned = Grid((cases.SHAPE[1], cases.SHAPE[2], cases.SHAPE[0]), cases.AFFINE @ permute)
    found = uptake_in_air(pet, grid, np.transpose(ct, (1, 2, 0))[..., ::-1], turned)
    assert (found.volume_ml, found.peak_suv) == (plain.volume_ml, plain.peak_suv)
    np.testing.assert_allclose(found.points_mm, plain.points_mm)


def test_gas_in_the_body_lungs_padding_and_what_is_beyond_ct_are_no_air():
    pet = 6.0 * cases.ball(8) + np.float32(0)
    gas = np.where(cases.ball(14), -1000, np.where(cases.body(), 40, -1000)).astype(np.int16)
    assert not uptake_in_air(pet, cases.GRID, gas, cases.GRID).noticeable
    for level, told in ((-1000, True), (-850, False), (-3024, False)):
        assert uptake_in_air(pet, cases.GRID, np.full(cases.SHAPE, level), cases.GRID).noticeable == told
    assert not uptake_in_air(pet, shifted((500, 0, 0)), gas, cases.GRID).noticeable
    assert uptake_in_air(0 * pet, cases.GRID, gas, cases.GRID).points_mm.shape == (0, 3)


def test_examine_distinguishes_uptake_of_the_lesion(tmp_path):
    moved = shifted((10, 0, 0)).affine
    case = cases.write(tmp_path, pet=(blurred_pet(), moved), label=cases.label(SUPERFICIAL_MM))
    settings = cases.settings()

    def found(case, with_label):
        report = examine(case, settings, with_label=with_label)
        return [(f.code, f.file) for f in report.findings if f.code in ("label_displaced", "uptake_in_air")]

    pet = str(case.images["pet"].path)
    assert found(case, True) == [("label_displaced", str(case.label.path))]
    assert found(case, False) == [("uptake_in_air", pet)]
    elsewhere = cases.write(tmp_path, pet=(blurred_pet(), moved), label=cases.label((-22, 0, 0)))
    assert found(elsewhere, True) == [("uptake_in_air", pet)]
