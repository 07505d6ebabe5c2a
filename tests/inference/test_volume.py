"""A volume through a network whose answer is known, in any orientation, and back onto its own grid."""

import dataclasses
import itertools

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference import volume as inference
from semicml_tf.preprocessing.normalisation import Normalisation
from tests.support import threshold_model
from tests.support.plain_client import plain_client

ORIENTATIONS = [
    (order, flips) for order in itertools.permutations(range(3)) for flips in itertools.product((False, True), repeat=3)
]


class Thresholding(inference.Segmenter):
    def __init__(self, manifest):
        super().__init__(manifest)
        self.slices = threshold_model.predict(manifest.modality)


def reoriented(array, affine, order, flips):
    """The same volume with its index axes permuted and flipped, and the affine that keeps it in place."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(order, flips)):
        matrix[source, axis] = -1 if flip else 1
        matrix[source, 3] += array.shape[source] - 1 if flip else 0
    turned = np.transpose(array, order)
    return np.flip(turned, [axis for axis in range(3) if flips[axis]]), affine @ matrix


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_mask_is_the_thresholded_volume_in_all_48_orientations(modality):
    values = threshold_model.volume(modality)
    model = Thresholding(threshold_model.manifest(modality))
    assert len(ORIENTATIONS) == 48
    for order, flips in ORIENTATIONS:
        turned, affine = reoriented(values, threshold_model.oblique(), order, flips)
        mask = model.predict(turned, affine)
        assert mask.dtype == np.uint8 and mask.shape == turned.shape
        np.testing.assert_array_equal(mask, turned > threshold_model.LEVELS[modality], err_msg=f"{order} {flips}")


def test_mask_returns_from_another_spacing_onto_the_own_grid():
    # A smooth ball: what resampling there and back may cost is a rim of less than a voxel.
    affine = threshold_model.oblique((1.5, 1.5, 3.0))
    shape = (48, 44, 30)
    at = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T
    distance = np.linalg.norm(at - at[tuple(n // 2 for n in shape)], axis=-1)
    values = (300 - 12 * distance).clip(-1000, None).astype(np.float32)
    model = Thresholding(threshold_model.manifest("ct", spacing_mm=(3.0, 2.0, 2.0)))
    expected = values > threshold_model.LEVELS["ct"]
    for order, flips in ORIENTATIONS[::7]:
        turned, turned_affine = reoriented(values, affine, order, flips)
        turned_expected, _ = reoriented(expected, affine, order, flips)
        mask = model.predict(turned, turned_affine).astype(bool)
        dice = 2 * np.sum(mask & turned_expected) / (np.sum(mask) + np.sum(turned_expected))
        assert dice > 0.97, (order, flips, dice)


def test_network_sees_what_records_hold():
    # Records store float16; a network given finer numbers would be used otherwise than it was trained.
    seen = []

    def predict(batch):
        seen.append(batch)
        return np.zeros_like(batch)

    manifest = threshold_model.manifest("ct", spacing_mm=(3.0, 2.0, 2.0))
    values = threshold_model.volume("ct", (30, 30, 12))
    inference.segment(values, threshold_model.oblique(), manifest, predict, batch_size=5)
    whole = np.concatenate(seen)
    assert whole.dtype == np.float32 and whole.shape[1:] == (16, 16, 1)
    assert {len(batch) for batch in seen[:-1]} == {5}
    np.testing.assert_array_equal(whole, whole.astype(np.float16).astype(np.float32))
    assert whole.min() >= -1 and whole.max() <= 1 and np.ptp(whole) > 1


def test_network_input_lies_on_the_manifests_grid():
    manifest = threshold_model.manifest("ct", spacing_mm=(3.0, 2.0, 2.5))
    values = threshold_model.volume("ct", (20, 22, 9))
    found = inference.network_input(values, Grid(values.shape, threshold_model.oblique()), manifest)
    assert found.images["ct"].shape == found.grid.shape
    np.testing.assert_allclose(found.grid.spacing_mm, (3.0, 2.0, 2.5))


@pytest.mark.parametrize(
    "modality, shape, spacing_mm, crop",
    [
        ("mr", (20, 18, 9), (0.0, 0.0, 0.0), "none"),  # percentiles, and slices smaller than the window
        ("mr", (20, 37, 9), (5.5, 4.0, 1.7), "body"),
        ("ct", (40, 18, 12), (3.0, 2.0, 4.5), "body"),
        ("pet", (40, 18, 12), (6.0, 6.0, 6.0), "body"),
    ],
)
@pytest.mark.parametrize("order, flips", [ORIENTATIONS[0], ORIENTATIONS[13], ORIENTATIONS[30]])
def test_the_client_of_the_docs_gives_the_packages_mask(
    tmp_path, monkeypatch, modality, shape, spacing_mm, crop, order, flips
):
    values = threshold_model.volume("ct" if modality == "ct" else "pet", shape)
    values[:9] = -1000 if modality == "ct" else 0
    values, affine = reoriented(values, threshold_model.oblique(), order, flips)
    manifest = dataclasses.replace(threshold_model.manifest(modality, spacing_mm=spacing_mm), crop=crop)
    ramp = np.linspace(-0.5, 0.5, manifest.window, dtype=np.float32)

    def network(batch):  # neither mirrored nor turned slices give the same
        return 1 / (1 + np.exp(-batch - ramp[:, None, None] - 2 * ramp[:, None]))

    def ask(stub, model, signature, name, values, output):
        return [manifest.to_json()] if signature == "manifest" else network(values)

    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "in.nii")
    client = plain_client()
    monkeypatch.setitem(client, "ask", ask)
    client["segment"]("127.0.0.1:1", modality, str(tmp_path / "in.nii"), str(tmp_path / "mask.nii"))
    found = np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj)
    expected = inference.segment(values, nibabel.load(tmp_path / "in.nii").affine, manifest, network) >= 0.5
    assert 0.05 < expected.mean() < 0.95
    assert np.mean(found != expected) < 1e-3


def test_beyond_the_bodys_box_nothing_is_found():
    manifest = dataclasses.replace(threshold_model.manifest("ct"), crop="body")
    values = np.full((40, 40, 12), -1000.0, np.float32)
    values[14:26, 14:26, 4:8] = 100
    everywhere = inference.segment(values, np.diag([2.0, 2, 3, 1]), manifest, np.ones_like)
    inside = np.zeros(values.shape, bool)
    inside[9:31, 9:31, 1:11] = True  # 10 mm round the body: 5 voxels of 2 mm, 3 of 3 mm
    np.testing.assert_array_equal(everywhere, inside)


def test_probabilities_and_mask_share_the_threshold():
    model = Thresholding(threshold_model.manifest("pet"))
    values = threshold_model.volume("pet")
    probabilities = model.probabilities(values, np.eye(4))
    assert probabilities.dtype == np.float32 and probabilities.shape == values.shape
    np.testing.assert_array_equal(model.mask(probabilities), model.predict(values, np.eye(4)))
    np.testing.assert_array_equal(model.mask(np.array([0.5], np.float32)), [1])


def check(values, manifest, spacing_mm=2.0):
    grid = Grid(values.shape, np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0]))
    return inference.check_plausible(values, grid, manifest)


@pytest.mark.parametrize(
    "modality, low, high, codes",
    [
        ("ct", -1000, 1500, ""),
        ("ct", -1024, 100, ""),
        ("ct", -2048, 1500, "warns of ct_padding"),
        ("ct", -150, 300, "warns of ct_without_air"),  # cropped inside the body: conversion accepts it, too
        ("ct", 0, 20, "ct_no_hu"),  # PET
        ("ct", 0, 2500, "ct_no_hu"),  # MR, or CT with its offset of 1024 left in
        ("ct", 5, 5, "constant_image"),
        ("ct", -1000, -500, "constant_input"),
        ("pet", 0, 3, ""),
        ("pet", -0.2, 3, ""),
        ("pet", -1.5, 3, "warns of suv_negative"),
        ("pet", 0, 1, "suv_too_low"),  # scaled
        ("pet", -1000, 1500, "suv_like_ct"),  # CT
        ("pet", 0, 32000, "suv_no_suv"),  # counts, Bq/ml
        ("pet", 0, 50, "suv_no_suv"),  # kBq/ml
    ],
)
def test_values_are_checked_as_conversion_checks_them(modality, low, high, codes):
    values = np.linspace(low, high, 60, dtype=np.float32).reshape(3, 4, 5)
    manifest = threshold_model.manifest(modality)
    if not codes or codes.startswith("warns of "):
        assert [one.code for one in check(values, manifest)] == codes.split()[2:]
        return
    with pytest.raises(UserError) as caught:
        check(values, manifest)
    line = caught.value.line
    assert caught.value.code == codes and "\n" not in line and f"'{modality}'" in line and f"--accept={codes}" in line
    assert check(values, manifest.accepting([codes]))[0].severity == "warning"


@pytest.mark.parametrize("spacing_mm", [1e-3, 1000.0])
def test_an_affine_in_another_unit_is_refused_before_anything_is_resampled(spacing_mm):
    # In metres the mask was empty, in micrometres it took 201 TiB.
    with pytest.raises(UserError, match="'ct' has voxels of .* mm, expected 0.01 to 200 mm"):
        check(threshold_model.volume("ct"), threshold_model.manifest("ct"), spacing_mm)


def test_what_the_study_accepted_or_named_as_its_unit_is_accepted_in_prediction():
    values = np.linspace(0, 30000, 60, dtype=np.float32).reshape(3, 4, 5)
    becquerel = dataclasses.replace(threshold_model.manifest("pet"), normalisation=Normalisation.parse("suv:0:40000"))
    assert check(values, becquerel) == []
    hot = np.where(values == 30000, 250, values / 20000).astype(np.float32)
    assert [one.code for one in check(hot, threshold_model.manifest("pet"))] == ["suv_too_high"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    values = threshold_model.volume("ct")
    values[1, 2, 3] = bad
    with pytest.raises(UserError, match="1 voxels that are NaN or infinite"):
        Thresholding(threshold_model.manifest("ct")).predict(values, np.eye(4))


def test_a_grid_that_no_memory_holds_is_refused():
    values, affine = threshold_model.volume("ct"), np.diag([10.0, 10.0, 10.0, 1.0])
    fine = threshold_model.manifest("ct", spacing_mm=(0.01, 0.01, 0.01))
    with pytest.raises(UserError, match="at most 1073741824 voxels on the network's grid, got 7000 x 13000 x 11000"):
        Thresholding(fine).predict(values, affine)


def test_arrays_and_affines_that_are_none_are_refused():
    model = Thresholding(threshold_model.manifest("ct"))
    with pytest.raises(UserError, match="3-D volume, got shape"):
        model.predict(threshold_model.volume("ct")[..., np.newaxis], np.eye(4))
    with pytest.raises(UserError, match="invertible affine"):
        model.predict(threshold_model.volume("ct"), np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(UserError, match="affine"):
        model.predict(threshold_model.volume("ct"), np.eye(3))
    with pytest.raises(UserError, match="batch size"):
        model.predict(threshold_model.volume("ct"), np.eye(4), batch_size=0)


def test_model_of_the_other_modality_is_refused():
    manifest = threshold_model.manifest("pet")
    inference.check_modality(manifest, "pet")
    inference.check_modality(manifest, None)
    with pytest.raises(UserError, match="'ct', got one for 'pet'"):
        inference.check_modality(manifest, "ct")
