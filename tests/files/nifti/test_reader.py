"""NIfTI files read, and every way in which one can be unusable."""

import gzip
import hashlib
import pathlib
import pickle
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.nifti import gunzip, reader
from semicml_tf.files.source import NiftiFile
from tests.support import image_folders
from tests.support.file_names import any_letters


def refusal(read, path):
    """The one line with which `read` refuses `path`; it names the file and tells a remedy."""
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in caught.value.line and caught.value.remedy and "\n" not in caught.value.line
    return caught.value.line


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_values_and_grid(tmp_path, name):
    array = image_folders.ct()
    volume, grid = reader.read_volume(image_folders.write(tmp_path / name, array))
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, array)
    np.testing.assert_allclose(grid.affine, image_folders.AFFINE, atol=1e-5)
    assert reader.read_grid(tmp_path / name).is_close(grid, tolerance_mm=0)


def test_the_scale_is_applied(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", np.full((2, 3, 4), 100, np.int16))
    content = bytearray(path.read_bytes())
    fields = nibabel.nifti1.header_dtype.fields
    for name, value in (("scl_slope", 0.25), ("scl_inter", -5)):
        content[fields[name][1] : fields[name][1] + 4] = np.float32(value).tobytes()
    path.write_bytes(content)
    assert np.all(reader.read_volume(path)[0] == 20)


@pytest.mark.parametrize("sform,qform", [(True, False), (False, True), (True, True)])
def test_either_form_of_the_header_gives_the_affine(tmp_path, sform, qform):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.ct(), sform=sform, qform=qform)
    np.testing.assert_allclose(reader.read_volume(path)[1].affine, image_folders.AFFINE, atol=1e-5)


def test_nifti_2(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.ones((2, 3, 4), np.float32), image_folders.AFFINE), tmp_path / "a.nii")
    assert reader.read_volume(tmp_path / "a.nii")[1].shape == (2, 3, 4)


def test_label_maps_are_whole_numbers_also_where_stored_as_floats(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", np.array([0, 1, 4, 2] * 6, np.float32).reshape(2, 3, 4))
    values, _ = reader.read_label(path)
    assert values.dtype == np.int32 and sorted(np.unique(values)) == [0, 1, 2, 4]
    path = image_folders.write(tmp_path / "b.nii.gz", np.full((2, 3, 4), 0.5, np.float32))
    assert "0.5" in refusal(reader.read_label, path)


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refusal(reader.read_volume, tmp_path / "a.nii.gz")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    assert "empty" in refusal(reader.read_volume, tmp_path / "a.nii.gz")


@pytest.mark.parametrize("keep", [15, 200, 0.5, -4])
def test_truncated_gz(tmp_path, keep):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.pet())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    assert "truncated" in refusal(reader.read_volume, path)


def test_damaged_gz(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.pet())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(reader.read_volume, path)


def test_truncated_nii(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", image_folders.pet())
    path.write_bytes(path.read_bytes()[:-100])
    assert "ends before its last voxel" in refusal(reader.read_volume, path)


@pytest.mark.parametrize("content", [b"hello", b"x" * 1000, gzip.compress(b"hello", mtime=0), bytes(352)])
def test_something_else_than_nifti(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert "NIfTI" in refusal(reader.read_volume, tmp_path / "a.nii.gz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(tmp_path, bad):
    array = image_folders.pet()
    array[0, 0, :3] = bad
    path = image_folders.write(tmp_path / "a.nii.gz", array)
    assert f"3 of {array.size} voxels" in refusal(reader.read_volume, path)
    assert "3 of" in refusal(reader.read_label, path)


@pytest.mark.parametrize("shape", [(4, 4, 4, 2), (4, 4, 1, 4), (4, 4, 4, 1, 2), (4, 4), (4,)])
def test_other_than_three_dimensions(tmp_path, shape):
    path = image_folders.write(tmp_path / "a.nii.gz", np.zeros(shape, np.int16))
    assert str(shape) in refusal(reader.read_volume, path) and str(shape) in refusal(reader.read_grid, path)


@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 1, 1), (2, 3, 4, 1), (2, 3, 4, 1, 1)])
def test_one_slice_and_a_fourth_axis_of_one(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    volume, grid = reader.read_volume(image_folders.write(tmp_path / "a.nii.gz", array))
    np.testing.assert_array_equal(volume, array.reshape(shape[:3]))
    assert grid.shape == shape[:3] == reader.read_grid(tmp_path / "a.nii.gz").shape


@pytest.mark.parametrize("letters", ["RGB", "RGBA"])
def test_colours(tmp_path, letters):
    colour = np.zeros((2, 3, 4), [(letter, "u1") for letter in letters])
    path = image_folders.write(tmp_path / "a.nii.gz", colour)
    assert f"one number a voxel, got colours ({letters})" in refusal(reader.read_volume, path)
    assert "one number a voxel" in refusal(reader.read_label, path)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers(tmp_path, dtype):
    path = image_folders.write(tmp_path / "a.nii", np.zeros((2, 3, 4), dtype))
    assert "one number a voxel, got complex numbers" in refusal(reader.read_volume, path)


DTYPES = [
    np.dtype(f"{order}{kind}")
    for order in "<>"
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_every_type_and_byte_order(tmp_path, dtype, ending, version):
    array = np.arange(120).reshape(4, 5, 6).astype(dtype)
    image_class = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}[version]
    header = image_class.header_class(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    nibabel.save(image_class(array, image_folders.AFFINE, header), tmp_path / f"a{ending}")
    volume, grid = reader.read_volume(tmp_path / f"a{ending}")
    assert volume.dtype == np.float32 and np.array_equal(volume, array)
    np.testing.assert_allclose(grid.affine, image_folders.AFFINE, atol=1e-5)
    label, _ = reader.read_label(tmp_path / f"a{ending}")
    assert label.dtype == np.int32 and np.array_equal(label, array)


def patched(path, content=None, **fields):
    """Changes fields of the header of an unzipped NIfTI-1 file."""
    content = bytearray(path.read_bytes() if content is None else content)
    for name, value in fields.items():
        dtype, offset = nibabel.nifti1.header_dtype.fields[name][:2]
        packed = np.asarray(value, dtype.base).tobytes()
        content[offset : offset + len(packed)] = packed
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("slope", [0, np.nan])
def test_a_slope_of_nothing_means_no_scale(tmp_path, slope):
    path = image_folders.write(tmp_path / "a.nii", image_folders.ct())
    patched(path, scl_slope=slope, scl_inter=7)
    np.testing.assert_array_equal(reader.read_volume(path)[0], image_folders.ct())


def test_a_scale_without_end_is_refused(tmp_path):
    path = patched(image_folders.write(tmp_path / "a.nii", image_folders.ct()), scl_slope=1, scl_inter=np.inf)
    assert "header is damaged" in refusal(reader.read_volume, path)


def test_the_scale_is_computed_as_nibabel_does(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", image_folders.ct(shape=(90, 90, 90)))
    patched(path, scl_slope=0.0123, scl_inter=-3.7)
    np.testing.assert_array_equal(reader.read_volume(path)[0], nibabel.load(path).get_fdata().astype(np.float32))


def test_labels_that_a_scale_has_rounded(tmp_path):
    array = np.array([0, 255, 85, 170] * 6, np.uint8).reshape(2, 3, 4)
    path = patched(image_folders.write(tmp_path / "a.nii", array), scl_slope=1 / 85)
    np.testing.assert_array_equal(reader.read_label(path)[0], array // 85)


@pytest.mark.parametrize("value", [2**40, -(2**33)])
def test_labels_beyond_reason(tmp_path, value):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.full((2, 3, 4), value), image_folders.AFFINE, dtype=np.int64), path)
    assert "whole numbers, got values such as" in refusal(reader.read_label, path)


def test_float64_beyond_float32(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", np.full((2, 3, 4), 1e300))
    assert "24 of 24 voxels are NaN or infinite" in refusal(reader.read_volume, path)


@pytest.mark.parametrize("between", [0, 4, 16, 5000])
@pytest.mark.parametrize("zipped", [False, True])
def test_voxels_that_begin_later(tmp_path, between, zipped):
    path = image_folders.write(tmp_path / "a.nii", image_folders.ct())
    content = path.read_bytes()
    patched(path, content[:352] + bytes(between) + content[352:], vox_offset=352 + between)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    np.testing.assert_array_equal(reader.read_volume(path)[0], image_folders.ct())


@pytest.fixture(params=["isal", "zlib"])
def library(request, monkeypatch):
    """Both ways to unzip: the fast one, and that of machines without it."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    assert gunzip._zlib().__name__.endswith("zlib") and (request.param in gunzip._zlib().__name__)
    return request.param


def noise():
    """More than several blocks and chunks, zipped and not."""
    return np.random.default_rng(0).integers(-(2**15), 2**15, (100, 100, 150)).astype(np.int16)


def test_gzip_files_of_several_members_and_with_something_behind(tmp_path, library):
    path = image_folders.write(tmp_path / "a.nii", noise())
    content = path.read_bytes()
    parts = [gzip.compress(content[i : i + 700_001], mtime=0) for i in range(0, len(content), 700_001)]
    for between, behind in [
        (b"", b""),
        (bytes(512), bytes(1000)),
        (b"", bytes(10**6)),
    ]:
        path.write_bytes(between.join(parts) + behind)
        volume, grid = reader.read_volume(path)
        np.testing.assert_array_equal(volume, noise())
    for behind, words in [
        (b"appended text", "other bytes follow"),
        (b"\x1f", "other bytes follow"),
        (bytes(512) + b"x", "other bytes follow"),
        (bytes(5 << 20), "bytes of 0 follow"),
    ]:
        path.write_bytes(b"".join(parts) + behind)
        assert words in refusal(reader.read_volume, path)
    path.write_bytes(b"".join(parts[:-1]))
    assert "ends before its last voxel" in refusal(reader.read_volume, path)
    path.write_bytes(b"".join(parts) + parts[-1][:-9])
    assert "truncated" in refusal(reader.read_volume, path)


@pytest.mark.parametrize("place", [0.01, 0.5, 0.99, -8, -4])
def test_every_damaged_byte_is_noticed(tmp_path, library, place):
    path = image_folders.write(tmp_path / "a.nii.gz", noise())
    content = bytearray(path.read_bytes())
    content[int(len(content) * place) if isinstance(place, float) else place] ^= 0x10
    path.write_bytes(content)
    assert "truncated or damaged" in refusal(reader.read_volume, path)


def test_a_truncated_gzip_file_is_noticed_wherever_it_ends(tmp_path, library):
    content = image_folders.write(tmp_path / "a.nii.gz", noise()).read_bytes()
    for length in (1, 2, 9, 11, 300, len(content) // 2, len(content) - 9, len(content) - 8, len(content) - 1):
        (tmp_path / "a.nii.gz").write_bytes(content[:length])
        refusal(reader.read_volume, tmp_path / "a.nii.gz")


def test_a_header_that_asks_for_more_than_there_is(tmp_path):
    path = patched(
        image_folders.write(tmp_path / "a.nii", image_folders.ct()), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]
    )
    assert "ends before its last voxel" in refusal(reader.read_volume, path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "ends before its last voxel" in refusal(reader.read_volume, path)


@pytest.mark.parametrize("dim", [[3, 0, 4, 4], [3, -2, 4, 4], [9, 4, 4, 4]])
def test_sizes_that_cannot_be(tmp_path, dim):
    path = patched(image_folders.write(tmp_path / "a.nii", image_folders.ct()), dim=[*dim, 1, 1, 1, 1])
    refusal(reader.read_volume, path)


@pytest.mark.parametrize(
    "name,content,words",
    [
        ("a.nii.gz", bytes(128) + b"DICM" + bytes(900), "got a DICOM file"),
        ("a.nii", b"\x89PNG\r\n" + bytes(900), "got a PNG picture"),
        ("a.nii.gz", b"\xff\xd8\xff\xe0" + bytes(900), "got a JPEG picture"),
        ("a.nii.gz", b"NRRD0004\n" + bytes(900), "got an NRRD file"),
        ("a.nii.gz", b"<!DOCTYPE html>" + b" " * 900, "got a web page"),
        ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        ("a.nii.gz", gzip.compress(b"PK\x03\x04" + bytes(900), mtime=0), "got a zip archive"),
        ("a.img", bytes(2000), "nib-convert NAME.hdr NAME.nii.gz"),
        ("a.hdr", bytes(344) + b"ni1\0", "one half of a .hdr/.img pair"),
        ("a.nii", bytes(344) + b"ni1\0", "one half of a .hdr/.img pair"),
    ],
)
def test_other_formats_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    assert words in refusal(reader.read_volume, tmp_path / name)


def test_a_pair_of_header_and_image(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(image_folders.ct(), image_folders.AFFINE), tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        assert "nib-convert" in refusal(reader.read_volume, tmp_path / name)


def test_folders_and_links_in_a_circle(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    assert "expected a file, got a folder" in refusal(reader.read_volume, tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("b.nii.gz")
    assert "symbolic links" in refusal(reader.read_volume, tmp_path / "b.nii.gz")
    for path in (tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"):
        source = NiftiFile(path)
        assert source.missing() == path
        with pytest.raises(UserError, match="folder|links"):
            source.digest()


def test_the_digest_is_of_the_bytes(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", noise())
    assert NiftiFile(path).digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pickle.loads(pickle.dumps(NiftiFile(path, 3))) == NiftiFile(path, 3)


@any_letters
def test_names_of_any_kind(tmp_path):
    path = image_folders.write(tmp_path / "Ünï 王 #%.nii.gz", image_folders.ct())
    np.testing.assert_array_equal(reader.read_volume(path)[0], image_folders.ct())


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").is_file(), reason="the peak is read from /proc")
@pytest.mark.parametrize("dtype,channel", [(np.int16, None), (np.float64, None), (np.float32, 2)])
def test_memory_is_that_of_the_result(tmp_path, dtype, channel):
    array = np.zeros((160, 160, 160) if channel is None else (160, 160, 160, 4), dtype)
    path = image_folders.write(tmp_path / "a.nii.gz", array)
    source = f"from semicml_tf.files.nifti import reader as nifti; nifti.read_volume({str(path)!r}, channel={channel})"
    # Not ru_maxrss: a process inherits that of the one that started it.
    measure = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    peaks = []
    for code in ("from semicml_tf.files.nifti import reader as nifti", source):
        done = subprocess.run([sys.executable, "-c", f"{code}; {measure}"], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    result = 160**3 * 4 / 2**20  # MiB
    assert result * 0.9 < peaks[1] - peaks[0] < result + 8  # beside it a few blocks


def test_an_affine_without_an_inverse(tmp_path):
    image = nibabel.Nifti1Image(image_folders.ct(), None)
    image.header.set_sform(np.diag([2.0, 2, 0, 1]), code=1)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert "invertible" in refusal(reader.read_volume, tmp_path / "a.nii")


def test_no_orientation_at_all(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.ct(), sform=False, qform=False)
    assert "no orientation" in refusal(reader.read_volume, path)


def test_metres(tmp_path):
    image = nibabel.Nifti1Image(image_folders.ct(), image_folders.AFFINE)
    image.header.set_xyzt_units("meter")
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    assert "millimetres" in refusal(reader.read_volume, tmp_path / "a.nii")
