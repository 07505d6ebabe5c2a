"""NIfTI files read, and every way in which one can be unusable."""

import gzip

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files import nifti
from tests import image_folders


def refusal(read, path):
    """The one line with which `read` refuses `path`; it names the file and tells a remedy."""
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in caught.value.line and caught.value.remedy and "\n" not in caught.value.line
    return caught.value.line


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_values_and_grid(tmp_path, name):
    array = image_folders.ct()
    volume, grid = nifti.read_volume(image_folders.write(tmp_path / name, array))
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, array)
    np.testing.assert_allclose(grid.affine, image_folders.AFFINE, atol=1e-5)
    assert nifti.read_grid(tmp_path / name).is_close(grid, tolerance_mm=0)


def test_the_scale_is_applied(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", np.full((2, 3, 4), 100, np.int16))
    content = bytearray(path.read_bytes())
    fields = nibabel.nifti1.header_dtype.fields
    for name, value in (("scl_slope", 0.25), ("scl_inter", -5)):
        content[fields[name][1] : fields[name][1] + 4] = np.float32(value).tobytes()
    path.write_bytes(content)
    assert np.all(nifti.read_volume(path)[0] == 20)


@pytest.mark.parametrize("sform,qform", [(True, False), (False, True), (True, True)])
def test_either_form_of_the_header_gives_the_affine(tmp_path, sform, qform):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.ct(), sform=sform, qform=qform)
    np.testing.assert_allclose(nifti.read_volume(path)[1].affine, image_folders.AFFINE, atol=1e-5)


def test_nifti_2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.ones((2, 3, 4), np.float32), image_folders.AFFINE), tmp_path / "a.nii")
    assert nifti.read_volume(tmp_path / "a.nii")[1].shape == (2, 3, 4)


def test_label_maps_are_whole_numbers_also_where_stored_as_floats(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", np.array([0, 1, 4, 2] * 6, np.float32).reshape(2, 3, 4))
    values, _ = nifti.read_label(path)
    assert values.dtype == np.int32 and sorted(np.unique(values)) == [0, 1, 2, 4]
    path = image_folders.write(tmp_path / "b.nii.gz", np.full((2, 3, 4), 0.5, np.float32))
    assert "0.5" in refusal(nifti.read_label, path)


def test_a_file_that_is_not_there(tmp_path):
    assert "no such file" in refusal(nifti.read_volume, tmp_path / "a.nii.gz")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    assert "empty" in refusal(nifti.read_volume, tmp_path / "a.nii.gz")


@pytest.mark.parametrize("keep", [15, 200, 0.5, -4])
def test_truncated_gz(tmp_path, keep):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.pet())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert "truncated" in refusal(nifti.read_volume, path)


def test_damaged_gz(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.pet())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(nifti.read_volume, path)


def test_truncated_nii(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", image_folders.pet())
    path.write_bytes(path.read_bytes()[:-100])
    assert "ends before its last voxel" in refusal(nifti.read_volume, path)


@pytest.mark.parametrize("content", [b"hello", b"x" * 1000, gzip.compress(b"hello", mtime=0), bytes(352)])
def test_something_else_than_nifti(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert "NIfTI" in refusal(nifti.read_volume, tmp_path / "a.nii.gz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(tmp_path, bad):
    array = image_folders.pet()
    array[0, 0, :3] = bad
    path = image_folders.write(tmp_path / "a.nii.gz", array)
    assert f"3 of {array.size} voxels" in refusal(nifti.read_volume, path)
    assert "3 of" in refusal(nifti.read_label, path)


@pytest.mark.parametrize("shape", [(4, 4, 4, 2), (4, 4, 4, 1), (4, 4)])
def test_other_than_three_dimensions(tmp_path, shape):
    path = image_folders.write(tmp_path / "a.nii.gz", np.zeros(shape, np.int16))
    assert str(shape) in refusal(nifti.read_volume, path) and str(shape) in refusal(nifti.read_grid, path)


def test_colours(tmp_path):
    colour = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "one number a voxel" in refusal(nifti.read_volume, image_folders.write(tmp_path / "a.nii.gz", colour))


def test_an_affine_without_an_inverse(tmp_path):
    image = nibabel.Nifti1Image(image_folders.ct(), None)
    image.header.set_sform(np.diag([2.0, 2, 0, 1]), code=1)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert "invertible" in refusal(nifti.read_volume, tmp_path / "a.nii")


def test_no_orientation_at_all(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.ct(), sform=False, qform=False)
    assert "no orientation" in refusal(nifti.read_volume, path)


def test_metres(tmp_path):
    image = nibabel.Nifti1Image(image_folders.ct(), image_folders.AFFINE)
    image.header.set_xyzt_units("meter")
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert "millimetres" in refusal(nifti.read_volume, tmp_path / "a.nii")
