"""Masks in each format on the patient's own grid; other grids and damaged files are refused."""

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation.external_masks import reader
from semicml_tf.evaluation.external_masks.files import MaskFile
from semicml_tf.evaluation.external_masks.values import MaskValues
from semicml_tf.files.dicom.series import open_series
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import PLAIN, LabelDefinition
from tests.files.dicom import test_labels as dicom
from tests.files.test_nrrd import write as write_nrrd
from tests.geometry.test_lattice import reordered
from tests.support.evaluation_data import ball, oblique_grid

GRID = oblique_grid((12, 11, 8))
MASK = ball(GRID, (5, 6, 3), 5.0)
REGIONS = LabelDefinition({"wt": (1, 2), "et": (2,)})


def nifti(path, values, grid=GRID):
    """A NIfTI file of the values."""
    image = nibabel.Nifti1Image(values, grid.affine)
    image.set_sform(grid.affine, 1)
    nibabel.save(image, path)
    return path


def read(path, labels=PLAIN, texts=(), grid=GRID):
    return reader.read(MaskFile("p1", {None: path}), grid, MaskValues.parse(texts, labels))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_nifti_and_nrrd(tmp_path, dtype):
    for path in (
        nifti(tmp_path / "p1.nii.gz", MASK.astype(dtype)),
        write_nrrd(tmp_path / "p1.nrrd", MASK.astype(dtype), GRID),
    ):
        found = read(path)
        np.testing.assert_array_equal(found.masks["lesion"], MASK)
        assert found.masks["lesion"].dtype == np.uint8 and not found.is_reordered


def test_axes_of_another_order_are_put_back(tmp_path):
    turned, grid = reordered(MASK, GRID, (2, 0, 1), (True, False, True))
    found = read(nifti(tmp_path / "p1.nii", np.ascontiguousarray(turned), grid))
    np.testing.assert_array_equal(found.masks["lesion"], MASK)
    assert found.is_reordered


def test_another_grid_is_refused_with_both_grids(tmp_path):
    affine = GRID.affine.copy()
    affine[:3, 3] += 3 * affine[:3, 0]
    with pytest.raises(UserError) as error:
        read(nifti(tmp_path / "p1.nii", MASK, Grid(GRID.shape, affine)))
    line = error.value.line
    assert line.count("12 x 11 x 8 voxels of 1.5 x 1.5 x 3 mm") == 2 and "(31, -12, 440)" in line
    assert "origin is shifted by" in line and "(3, 0, 0) voxels" in line
    with pytest.raises(UserError, match="probably it covers another box"):
        read(nifti(tmp_path / "p1.nii", MASK[1:], GRID.cropped((slice(1, 12), slice(0, 11), slice(0, 8)))))
    # The header is read first: no voxel of a huge file is.
    huge = nibabel.Nifti1Header()
    huge.set_data_shape((30000, 30000, 30000))
    huge.set_sform(GRID.affine, 1)
    huge["vox_offset"] = 352
    (tmp_path / "p2.nii").write_bytes(huge.binaryblock + bytes(8))
    with pytest.raises(UserError, match="got 30000 x 30000 x 30000 voxels"):
        read(tmp_path / "p2.nii")


def test_classes_in_one_file_or_in_one_file_each(tmp_path):
    values = MASK.astype(np.uint8) + ball(GRID, (5, 6, 3), 2.5)
    found = read(nifti(tmp_path / "p1.nii.gz", values), REGIONS)
    np.testing.assert_array_equal(found.masks["wt"], MASK)
    np.testing.assert_array_equal(found.masks["et"], values == 2)
    paths = {name: nifti(tmp_path / f"p1_{name}.nii.gz", mask) for name, mask in found.masks.items()}
    each = reader.read(MaskFile("p1", paths), GRID, MaskValues.parse((), REGIONS))
    for name in REGIONS.names:
        np.testing.assert_array_equal(each.masks[name], found.masks[name])
    named = read(tmp_path / "p1.nii.gz", PLAIN, ["2"])
    assert named.background == (1,)
    with pytest.raises(UserError, match="expected the values 0, 1, got also 2"):
        read(tmp_path / "p1.nii.gz")


def test_dicom_seg_of_some_slices_on_the_grid_of_its_images(tmp_path):
    datasets = dicom.images(tmp_path / "images")
    grid = open_series(tmp_path / "images").read_grid()
    blob = dicom.blob()
    path = dicom.write_seg(tmp_path / "p1.dcm", datasets, {"tumour": blob})
    found = read(path, grid=grid)
    np.testing.assert_array_equal(found.masks["lesion"], blob.transpose(2, 1, 0))
    # The same images as NIfTI with other axes.
    expected, other = reordered(blob.transpose(2, 1, 0), grid, (2, 1, 0), (True, False, False))
    found = read(path, grid=other)
    np.testing.assert_array_equal(found.masks["lesion"], expected)
    assert found.is_reordered
    with pytest.raises(UserError, match="expected the patient's grid"):
        read(path, grid=GRID)


def test_dicom_seg_of_several_classes(tmp_path):
    datasets = dicom.images(tmp_path / "images")
    grid = open_series(tmp_path / "images").read_grid()
    path = dicom.write_seg(tmp_path / "p1.dcm", datasets, {"wt": dicom.blob(), "et": dicom.blob(1)})
    found = read(path, REGIONS, grid=grid)
    np.testing.assert_array_equal(found.masks["et"], dicom.blob(1).transpose(2, 1, 0))
    with pytest.raises(UserError, match="got 1 'wt', 2 'et'"):
        read(path, grid=grid)
    np.testing.assert_array_equal(read(path, PLAIN, ["2"], grid).masks["lesion"], found.masks["et"])


def test_damaged_files_are_named(tmp_path):
    for name, message in (
        ("p1.nii.gz", "p1.nii.gz: the file is empty"),
        ("p1.nrrd", "p1.nrrd: expected an NRRD"),
        ("p1.dcm", "p1.dcm: "),
        ("p1.mha", "expected a NIfTI file"),
    ):
        (tmp_path / name).write_bytes(b"" if name == "p1.nii.gz" else b"ObjectType = Image")
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)
