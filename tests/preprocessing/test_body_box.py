"""The body's box by closed form, in noise, and on patients: no lesion may lie outside."""

import os
import pathlib

import numpy as np
import pytest

from semicml_tf.files.nifti import reader
from semicml_tf.phantom import case as cases
from semicml_tf.preprocessing.body_box import body_box

INSIDE = (slice(5, 30), slice(8, 35), slice(3, 12))
VALUES = {"hu": (-1000.0, -90.0), "suv": (0.0, 0.3), "percentile": (0.0, 120.0)}  # background, faint tissue
REPOSITORY = pathlib.Path(__file__).parents[2]


def volume(kind):
    background, tissue = VALUES[kind]
    made = np.full((40, 44, 16), background, np.float32)
    made[INSIDE] = tissue
    return made


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_box_of_a_box(kind, order):
    assert body_box(np.asarray(volume(kind), order=order), kind) == INSIDE


@pytest.mark.parametrize("kind", VALUES)
def test_box_is_equivariant_to_permutations_and_flips(kind):
    turned = np.transpose(volume(kind), (2, 0, 1))[:, ::-1]
    assert body_box(turned, kind) == (INSIDE[2], slice(40 - 30, 40 - 5), INSIDE[1])


@pytest.mark.parametrize("kind", ["hu", "suv"])
def test_isolated_voxels_of_noise_are_not_followed(kind):
    noisy = volume(kind)
    rng = np.random.default_rng(0)
    spots = rng.random(noisy.shape) < 0.01
    noisy[spots] = np.maximum(noisy[spots], VALUES[kind][1])
    assert spots[:3].any() and spots[:, 40:].any()
    assert body_box(noisy, kind) == INSIDE


def test_smooth_noise_of_a_scanner_is_not_followed():
    rng = np.random.default_rng(1)
    air = np.abs(rng.normal(0, 0.03, (40, 44, 16))).astype(np.float32)
    assert body_box(np.maximum(volume("suv"), air), "suv") == INSIDE
    table = -1000 + rng.normal(0, 30, (40, 44, 16)).astype(np.float32)
    assert body_box(np.maximum(volume("hu"), table), "hu") == INSIDE


def test_noisy_mr_background_gives_the_whole_volume():
    noisy = volume("percentile") + np.random.default_rng(0).rayleigh(3, (40, 44, 16)).astype(np.float32)
    assert body_box(noisy, "percentile") == (slice(0, 40), slice(0, 44), slice(0, 16))


@pytest.mark.parametrize("kind", VALUES)
def test_an_empty_volume_has_no_box(kind):
    assert body_box(np.full((4, 5, 6), VALUES[kind][0], np.float32), kind) is None


@pytest.mark.parametrize("kind", VALUES)
def test_one_slice_and_one_voxel(kind):
    assert body_box(volume(kind)[:, :, 5:6], kind) == (*INSIDE[:2], slice(0, 1))
    background, tissue = VALUES[kind]
    lone = np.full((5, 5, 5), background, np.float32)
    lone[1, 2, 3] = tissue
    assert body_box(lone, kind) == (slice(1, 2), slice(2, 3), slice(3, 4))


def left_out(box, grid, mask, mask_grid):
    """Foreground voxels whose centre lies outside the box, as a fraction."""
    places = np.c_[np.argwhere(mask), np.ones(np.count_nonzero(mask))]
    index = (places @ (np.linalg.inv(grid.affine) @ mask_grid.affine).T)[:, :3]
    low, high = (np.array([getattr(bounds, end) for bounds in box]) - 0.5 for end in ("start", "stop"))
    return float(np.mean(np.any((index < low) | (index > high), axis=1)))


@pytest.mark.parametrize("body, oblique", [("trunk", False), ("trunk", True), ("head", True)])
def test_no_phantom_lesion_is_cut_off(body, oblique):
    for seed in range(4):
        case = cases.generate(seed, 1, body=body, oblique=oblique, empty_fraction=0)
        for name, (image, grid) in case.images.items():
            box = body_box(image.astype(np.float32), {"ct": "hu", "pet": "suv"}.get(name, "percentile"))
            assert left_out(box, grid, case.label > 0, case.label_grid) == 0
            # It is worth the trouble: a part of the volume goes.
            assert np.prod([bounds.stop - bounds.start for bounds in box]) < 0.97 * image.size


def test_no_sarcoma_is_cut_off():
    root = pathlib.Path(os.environ.get("SEMICML_TF_STS", REPOSITORY.parent / "shared/data/sts"))
    if not (root / "imagesTr").is_dir():
        pytest.skip("needs the sarcoma patients: SEMICML_TF_STS=FOLDER")
    labels = sorted((root / "labelsTr").glob("*.nii.gz"))
    assert len(labels) >= 36
    for path in labels:
        mask, mask_grid = reader.read_label(path)
        for ending, kind in (("CT", "hu"), ("PT", "suv")):
            image, grid = reader.read_volume(root / "imagesTr" / path.name.replace(".nii.gz", f"__{ending}.nii.gz"))
            assert left_out(body_box(image, kind), grid, mask > 0, mask_grid) == 0, (path.name, ending)
