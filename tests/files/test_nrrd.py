"""NRRD label maps: read by SimpleITK after a check of the header."""

import numpy as np
import pytest
import SimpleITK

from semicml_tf.errors import UserError
from semicml_tf.files import nrrd
from tests.support.evaluation_data import oblique_grid

GRID = oblique_grid((6, 5, 4))


def write(path, values, grid=GRID, *, compressed=True):
    """A file of the values, on the grid."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    lps = np.diag([-1.0, -1, 1, 1]) @ grid.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path), compressed)
    return path


@pytest.fixture
def values():
    return np.arange(6 * 5 * 4).reshape(6, 5, 4).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32])
@pytest.mark.parametrize("compressed", [True, False])
def test_values_and_grid_come_back(tmp_path, values, dtype, compressed):
    path = write(tmp_path / "a.seg.nrrd", values.astype(dtype), compressed=compressed)
    assert nrrd.read_grid(path).is_close(GRID, 1e-6)
    read, grid = nrrd.read_label(path, most_voxels=values.size)
    assert grid.is_close(GRID, 1e-6) and read.dtype == np.int32
    np.testing.assert_array_equal(read, values)


def _edited(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


DAMAGE = {
    "another format": (lambda path: path.write_bytes(b"no header"), "expected an NRRD file"),
    "a header without end": (lambda path: path.write_bytes(path.read_bytes()[:60]), "expected an NRRD file"),
    "values elsewhere": (
        lambda path: _edited(path, b"encoding: raw", b"encoding: raw\ndata file: /etc/passwd"),
        "lie in another file",
    ),
    "an unknown encoding": (lambda path: _edited(path, b"encoding: raw", b"encoding: hex"), "got 'hex'"),
    "four dimensions": (lambda path: _edited(path, b"dimension: 3", b"dimension: 4"), "dimension '4'"),
    "no origin": (lambda path: _edited(path, b"space origin", b"# origin"), "no space origin"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "damaged or truncated"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_and_hostile_files_are_refused(tmp_path, values, name):
    change, message = DAMAGE[name]
    path = write(tmp_path / "a.nrrd", values, compressed=False)
    change(path)
    with pytest.raises(UserError, match=message):
        nrrd.read_label(path, most_voxels=values.size)


def test_sizes_are_checked_before_memory_is_taken(tmp_path, values):
    path = write(tmp_path / "a.nrrd", values, compressed=False)
    _edited(path, b"sizes: 6 5 4", b"sizes: 60000 50000 40000")
    with pytest.raises(UserError, match="expected at most 120 voxels"):
        nrrd.read_label(path, most_voxels=values.size)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "whole numbers"), (0.5, "such as 0.5"), (1e12, "32 bits")])
def test_values_of_no_label_map_are_refused(tmp_path, values, value, message):
    odd = values.astype(np.float64)
    odd[1, 2, 3] = value
    with pytest.raises(UserError, match=message):
        nrrd.read_label(write(tmp_path / "a.nrrd", odd), most_voxels=values.size)


def test_a_missing_library_is_named(tmp_path, values, monkeypatch):
    path = write(tmp_path / "a.nrrd", values)
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(UserError, match="reading NRRD needs SimpleITK"):
        nrrd.read_grid(path)
