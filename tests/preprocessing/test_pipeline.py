"""Conversion and prediction see the same voxels, for any grid, crop, spacing and number of modalities."""

import dataclasses

import nibabel
import numpy as np
import pytest

from semicml_tf.conversion.build_case import build
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.volume import network_input
from semicml_tf.labels import PLAIN
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.preprocessing.pipeline import preprocess, to_patient_grid
from tests.support import threshold_model

NORMALISATION = {
    "ct": Normalisation("hu", -200, 300),
    "pet": Normalisation("suv", 0, 15),
    "mr": Normalisation("percentile", 0.5, 99.5),
}
# Axes in the order columns, rows, slices, as in most files.
SHAPE = (40, 16, 10)
AFFINES = {
    "oblique": threshold_model.oblique((1.5, 1.7, 3.0)),
    "anisotropic": np.diag([-0.8, -0.8, 5.0, 1.0]),
    "flipped": np.array([[0, 2.0, 0, -10], [0, 0, 1.5, 4], [-2.5, 0, 0, 7], [0, 0, 0, 1.0]]),
}


def volume(modality: str) -> np.ndarray:
    """Random values in the modality's units; the body begins at another column in each modality."""
    values = threshold_model.volume("ct" if modality == "ct" else "pet", SHAPE)
    values[: {"ct": 20, "pet": 23, "mr": 24}[modality]] = -1000 if modality == "ct" else 0
    return values


@pytest.mark.parametrize("names", [("ct",), ("pet", "ct", "mr")], ids=["one", "three"])
@pytest.mark.parametrize("spacing_mm", [(0.0, 0.0, 0.0), (3.1, 2.3, 2.5)], ids=["own", "resampled"])
@pytest.mark.parametrize("crop", ["body", "none"])
@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_prediction_sees_the_voxels_of_the_record(tmp_path, affine, crop, spacing_mm, names):
    files = {name: NiftiFile(tmp_path / f"{name}.nii") for name in names}
    for name, source in files.items():
        nibabel.save(nibabel.Nifti1Image(volume(name), affine), source.path)
    how = {name: NORMALISATION[name] for name in names}
    settings = Settings(names, names[0], spacing_mm, how, labels=PLAIN, crop=crop)
    record = build(CaseFiles("case", files), settings, with_label=False)
    assert list(record.images) == list(names)
    for name, source in files.items():
        manifest = dataclasses.replace(threshold_model.manifest(name, spacing_mm=spacing_mm), crop=crop)
        predicted = network_input(*source.read_volume(), manifest)
        assert predicted.full_shape == record.full_shape and predicted.constants[name] == record.constants[name]
        # The record holds the body of all modalities; prediction has its own modality alone.
        start = np.subtract(predicted.crop_offset, record.crop_offset)
        assert (start >= 0).all()
        box = tuple(slice(begin, begin + size) for begin, size in zip(start, predicted.grid.shape))
        np.testing.assert_array_equal(predicted.images[name], record.images[name][box])
        np.testing.assert_allclose(predicted.grid.affine, record.grid.cropped(box).affine, atol=1e-9)
        if len(names) == 1:
            assert predicted.grid.shape == record.grid.shape
    assert (record.grid.shape != record.full_shape) == (crop == "body")


def test_images_of_several_grids_lie_on_the_grid_of_the_reference():
    grid = Grid((8, 8, 8), np.eye(4))
    coarse = Grid((4, 4, 4), np.diag([2.0, 2, 2, 1]))
    images = {"ct": (np.zeros((8, 8, 8)), grid), "pet": (np.full((4, 4, 4), 7.5), coarse)}
    found = preprocess(images, grid, spacing_mm=(1, 2, 4), normalisation=NORMALISATION, crop="none")
    assert not images
    assert found.grid.shape == found.images["ct"].shape == found.images["pet"].shape == (8, 4, 2)
    assert found.images["ct"].dtype == np.float16
    assert np.all(found.images["ct"] == np.float16(-0.2)) and np.all(found.images["pet"] == 0)


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_the_inverse_returns_the_voxels_of_the_crop(affine):
    grid, values = Grid(SHAPE, affine), volume("ct")
    images = {"ct": (values, grid)}
    found = preprocess(images, grid, spacing_mm=(0, 0, 0), normalisation=NORMALISATION, crop="body")
    back = to_patient_grid(found.images["ct"].astype(np.float32), found.grid, grid)
    expected = found.constants["ct"].apply(values).astype(np.float16)
    inside = to_patient_grid(np.ones(found.grid.shape, np.float32), found.grid, grid)
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(back, np.where(inside == 1, expected, 0))


def test_a_network_grid_of_too_many_voxels_is_refused():
    grid = Grid((10, 10, 10), np.diag([10.0, 10, 10, 1]))
    with pytest.raises(UserError, match="at most 1073741824 voxels on the network's grid, got 10000 x 10000 x 10000"):
        preprocess({}, grid, spacing_mm=(0.01, 0.01, 0.01), normalisation={}, crop="none")
