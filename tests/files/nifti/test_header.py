"""NIfTI headers with odd or damaged fields: an own error, or the values that the file holds."""

import contextlib
import gzip
import pathlib
import resource
import struct

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.nifti import reader, writer
from semicml_tf.files.source import NiftiFile
from tests.files.nifti.test_reader import patched, refusal
from tests.support import image_folders

SHAPE = (4, 5, 6)
ODD = (0, 1, -1, 2, 4, 7, 8, 77, 2**15 - 1, -(2**15), 2**31 - 1, 1e-300, 1e-40, 1e-7, 1e7, 1e30, 1e300, -0.5, 0.5)
ODD = (*ODD, float("nan"), float("inf"), float("-inf"))


@contextlib.contextmanager
def memory_limit(mebibytes=512):
    """Lets this process take so much more memory, and no more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = held + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most if before[1] < 0 else min(most, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def base(version, order):
    """The bytes of a sound file, and its header's fields."""
    image_class = {1: nibabel.Nifti1Image, 2: nibabel.Nifti2Image}[version]
    header = image_class.header_class(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    image = image_class(array, image_folders.AFFINE, header)
    image.set_sform(image_folders.AFFINE, code=1)
    image.set_qform(image_folders.AFFINE, code=1)
    image.header.set_xyzt_units("mm", "sec")
    return image.to_bytes(), header.template_dtype.newbyteorder(order)


def mutated(content, dtype, random):
    """The file with one to three fields, or some bytes of its header, replaced."""
    content = bytearray(content)
    if random.random() < 0.3:
        start = int(random.integers(0, dtype.itemsize))
        count = int(random.integers(1, 9))
        content[start : start + count] = random.bytes(count)
        return bytes(content)
    # Half of them lose the sform, so that the qform counts.
    if random.random() < 0.5:
        content[dtype.fields["sform_code"][1] : dtype.fields["sform_code"][1] + 2] = bytes(2)
    for _ in range(int(random.integers(1, 4))):
        name = random.choice([name for name in dtype.names if dtype[name].base.kind in "iuf"])
        base_dtype, offset = dtype[name].base, dtype.fields[name][1]
        place = offset + int(random.integers(0, dtype[name].itemsize // base_dtype.itemsize)) * base_dtype.itemsize
        value = float(random.choice(ODD))
        with np.errstate(all="ignore"):
            packed = np.array(value).astype(base_dtype).tobytes()
        content[place : place + base_dtype.itemsize] = packed
    return bytes(content)


def expected(content):
    """Values and affine of a file, by the standard alone."""
    version_2 = content[4:7] == b"n+2"
    template = (nibabel.Nifti2Header if version_2 else nibabel.Nifti1Header).template_dtype
    order = next(o for o in "<>" if struct.unpack(f"{o}i", content[:4])[0] == template.itemsize)
    fields = np.frombuffer(content, template.newbyteorder(order), count=1)[0]
    shape = tuple(int(size) for size in fields["dim"][1:4])
    dtype = nibabel.nifti1.data_type_codes.dtype[int(fields["datatype"])].newbyteorder(order)
    values = np.frombuffer(content, dtype, count=int(np.prod(shape)), offset=int(fields["vox_offset"]))
    values = values.reshape(shape, order="F").astype(np.float64)
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope and not np.isnan(slope):
        values = values * slope + inter
    affine = np.eye(4)
    if fields["sform_code"]:
        affine[:3] = [fields[f"srow_{axis}"] for axis in "xyz"]
        return values, affine
    b, c, d = (float(fields[f"quatern_{axis}"]) for axis in "bcd")
    a = np.sqrt(max(1 - b * b - c * c - d * d, 0))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sign = -1 if fields["pixdim"][0] < 0 else 1
    affine[:3, :3] = rotation * fields["pixdim"][1:4].astype(np.float64) * (1, 1, sign)
    affine[:3, 3] = [fields[f"qoffset_{axis}"] for axis in "xyz"]
    return values, affine


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").is_file(), reason="the memory in use is read from /proc")
@pytest.mark.parametrize("version,order", [(1, "<"), (1, ">"), (2, "<")])
def test_a_mutated_header_is_refused_or_read_right(tmp_path, version, order):
    random = np.random.default_rng(version + ord(order))
    sound, dtype = base(version, order)
    path, mask = tmp_path / "a.nii", tmp_path / "mask.nii"
    read = 0
    for number in range(120):
        content = mutated(sound, dtype, random)
        path.write_bytes(gzip.compress(content, 1, mtime=0) if number % 4 == 0 else content)
        with memory_limit():
            try:
                volume, grid = reader.read_volume(path)
            except UserError as error:
                assert str(path) in error.line and error.remedy and "\n" not in error.line
                continue
            values, affine = expected(content)
            np.testing.assert_allclose(volume, values.astype(np.float32), rtol=1e-6)
            np.testing.assert_allclose(grid.affine, affine, rtol=1e-5, atol=1e-5 * np.abs(affine).max())
            grid.reordered()[0].for_network((0, 0, 0))
            with contextlib.suppress(UserError):  # values of any size are no label map
                reader.read_label(path)
            NiftiFile(path).remarks()
            if read % 8 == 0:
                writer.write_array(mask, (volume > 0).astype(np.uint8), like=path)
                assert reader.read_grid(mask).is_close(grid, tolerance_mm=1e-4 * np.abs(affine).max())
            read += 1
    assert 20 < read < 100  # both outcomes are tried


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"xyzt_units": 7}, "got the unknown unit 7"),
        ({"xyzt_units": 3}, "got micrometres"),
        ({"dim": [3, -1, 1, 1, 1, 1, 1, 1]}, "dim is [3, -1, 1, 1"),
        ({"sform_code": 77}, "got 77 and 1"),
        ({"sform_code": 0, "qform_code": 77}, "got 0 and 77"),
        ({"sform_code": 0, "pixdim": [1, 0, 2, 3, 0, 0, 0, 0]}, "positive voxel sizes"),
        ({"sform_code": 0, "pixdim": [1, -2, 2, 3, 0, 0, 0, 0]}, "positive voxel sizes"),
        ({"sform_code": 0, "pixdim": [0.7, 2, 2, 3, 0, 0, 0, 0]}, "qfac"),
        ({"srow_x": [1e-42, 0, 0, 0]}, "invertible"),
        ({"srow_x": [1e30, 0, 0, 0]}, "voxels from 1e-06 to 1e+06 mm"),
        ({"scl_slope": np.inf}, "scl_slope is inf"),
        ({"vox_offset": 352.5}, "byte 352.5"),
    ],
)
def test_a_field_that_the_result_depends_on_is_not_repaired(tmp_path, fields, words):
    path = patched(image_folders.write(tmp_path / "a.nii", image_folders.ct()), **fields)
    assert words in refusal(reader.read_volume, path)


@pytest.mark.parametrize(
    "fields,words",
    [
        ({}, ""),
        ({"pixdim": [0, 2, 2, 3, 0, 0, 0, 0]}, ""),  # the standard's own default
        ({"bitpix": 8}, "bitpix is 8"),
        ({"qform_code": 77}, "qform_code is 77"),
        ({"pixdim": [1, 0, 2, 3, 0, 0, 0, 0]}, "positive voxel sizes"),
        ({"quatern_b": 3}, "the qform is unusable"),
    ],
)
def test_a_field_that_contradicts_the_others_is_reported(tmp_path, fields, words):
    path = patched(image_folders.write(tmp_path / "a.nii", image_folders.ct()), **fields)
    np.testing.assert_array_equal(reader.read_volume(path)[0], image_folders.ct())
    remarks = NiftiFile(path).remarks()
    assert words in "; ".join(remarks) and bool(remarks) == bool(words)
    writer.write_array(tmp_path / "mask.nii", image_folders.label().astype(np.uint8), like=path)
    written = nibabel.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(written.affine, image_folders.AFFINE, atol=1e-5)
    assert not NiftiFile(tmp_path / "mask.nii").remarks()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape,channel", [((4, 5, 6, 1), None), ((4, 5, 6, 1, 1), None), ((4, 5, 6, 3), 2)])
def test_a_mask_is_written_beside_a_4d_file(tmp_path, ending, shape, channel):
    path = image_folders.write(tmp_path / f"a{ending}", np.zeros(shape, np.int16))
    mask = np.zeros(shape[:3], np.uint8)
    mask[1, 2, 3] = 1
    writer.write_array(tmp_path / f"mask{ending}", mask, like=path, channel=channel)
    written, grid = reader.read_label(tmp_path / f"mask{ending}")
    np.testing.assert_array_equal(written, mask)
    assert grid.is_close(reader.read_grid(path, channel=channel), tolerance_mm=0)


def test_more_voxels_than_the_ceiling(tmp_path):
    path = image_folders.write(tmp_path / "a.nii.gz", image_folders.ct())
    size = image_folders.ct().size
    assert NiftiFile(path, most_voxels=size).read_volume()[0].size == size
    for read in (NiftiFile(path, most_voxels=size - 1).read_volume, NiftiFile(path, most_voxels=size - 1).read_label):
        with pytest.raises(UserError, match=rf"at most {size - 1} voxels, got {size}.*--max_voxels"):
            read()


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").is_file(), reason="the memory in use is read from /proc")
def test_no_memory_for_an_honest_volume(tmp_path):
    path = tmp_path / "a.nii"
    image_folders.write(path, np.zeros((4, 4, 4), np.uint8))
    patched(path, dim=[3, 1000, 1000, 1000, 1, 1, 1, 1])
    with open(path, "r+b") as stream:
        stream.truncate(352 + 10**9)  # a hole takes no space on the disk
    with memory_limit(64):
        assert "not enough memory for 4.0 GB of voxels" in refusal(reader.read_volume, path)


def test_what_lies_far_behind_the_voxels_is_not_read(tmp_path):
    path = image_folders.write(tmp_path / "a.nii", image_folders.ct())
    content = path.read_bytes()
    for behind in (0, 1000):
        (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content + bytes(behind), 1))
        np.testing.assert_array_equal(reader.read_volume(tmp_path / "b.nii.gz")[0], image_folders.ct())
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content + bytes(3 << 20), 1))
    assert "bytes follow its last voxel" in refusal(reader.read_volume, tmp_path / "b.nii.gz")
    path.write_bytes(content + bytes(3 << 20))
    assert "bytes follow its last voxel" in refusal(reader.read_volume, path)
