"""DICOM pixels that are compressed, or many frames in one file."""

import pathlib
import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

from semicml_tf.errors import UserError
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.series import open_series
from tests.files.dicom.test_labels import write_seg
from tests.files.dicom.test_series import refused
from tests.support import dicom_files as files

BITS_12 = {"BitsStored": 12, "HighBit": 11}
PADDING_RANGE = {"PixelPaddingValue": ("SS", -2000), "PixelPaddingRangeLimit": ("SS", -1500)}
REVERSED_RANGE = {"PixelPaddingValue": ("SS", -1500), "PixelPaddingRangeLimit": ("SS", -2000)}
RESCALE = {"RescaleSlope": 2, "RescaleIntercept": 1}
_BY_GDCM = {JPEGLosslessSV1: "JPEG", JPEG2000Lossless: "JPEG2000"}


def _recompressed(paths, syntax):
    """Files compressed by pydicom, or by GDCM within SimpleITK where pydicom cannot."""
    for path in paths:
        made = pydicom.dcmread(path)
        if syntax not in _BY_GDCM:
            made.compress(syntax, generate_instance_uid=False)
        else:
            image = SimpleITK.GetImageFromArray(made.pixel_array)
            writer = SimpleITK.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetUseCompression(True)
            writer.SetCompressor(_BY_GDCM[syntax])
            target = path.parent.parent / "compressed.dcm"
            writer.SetFileName(str(target))
            writer.Execute(image)
            coded = pydicom.dcmread(target)
            made.file_meta.TransferSyntaxUID = coded.file_meta.TransferSyntaxUID
            made.PixelData = coded.PixelData
            made["PixelData"].is_undefined_length = True
            target.unlink()
        files.save(made, path)


@pytest.mark.parametrize("syntax", [pydicom.uid.RLELossless, JPEGLosslessSV1])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_compressed_pixels(tmp_path, syntax, modality):
    stored = files.numbers(dtype=np.uint16)
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": 3}
    paths = files.write_series(tmp_path / "s", stored, modality=modality, **tags)
    _recompressed(paths, syntax)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID.is_compressed
    volume, _ = open_series(tmp_path / "s").read_volume()
    np.testing.assert_array_equal(volume, stored.transpose(2, 1, 0) * 0.5 + 3)


def test_an_overlay_behind_jpeg_2000_is_ignored(tmp_path):
    stored = files.numbers((2, 16, 16), dtype=np.uint16)
    paths = files.write_series(tmp_path / "s", stored | np.uint16(1 << 15))
    _recompressed(paths, JPEG2000Lossless)
    for path in paths:
        made = pydicom.dcmread(path)
        files.put(made, BitsStored=12, HighBit=11)
        files.save(made, path)
    np.testing.assert_array_equal(open_series(tmp_path / "s").read_volume()[0], stored.transpose(2, 1, 0) - 1024.0)


def test_unsupported_compression_is_refused(tmp_path):
    paths = files.write_series(tmp_path, files.numbers((2, 4, 4)))
    for path in paths:
        made = pydicom.dcmread(path)
        made.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        made.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(20)])
        made["PixelData"].is_undefined_length = True
        files.save(made, path)
    error = refused(tmp_path, "no installed decoder supports the compression")
    assert "pip install" in error.remedy


@pytest.mark.parametrize(
    "modality,kind,stored,tags,values",
    [
        ("CT", "u2", [63536, 1024, 0], {"PixelPaddingValue": ("US", 63536)}, [-1024, 0, -1024]),
        ("CT", "i2", [-2000, 1024, 0], {"PixelPaddingValue": ("SS", -2000)}, [-1024, 0, -1024]),
        # The tag is written as the unsigned number of the same bits, and the other way round.
        ("CT", "i2", [-2000, 1024, 0], {"PixelPaddingValue": ("US", 63536)}, [-1024, 0, -1024]),
        ("CT", "u2", [63536, 1024, 0], {"PixelPaddingValue": ("SS", -2000)}, [-1024, 0, -1024]),
        # The value needs more bits than are stored; 2096 has the same 12 lowest bits, and is a measured value.
        ("CT", "u2", [63536, 1024, 2096], {"PixelPaddingValue": ("SS", -2000), **BITS_12}, [-1024, 0, 1072]),
        ("CT", "i2", [-1500, 1024, -2000], PADDING_RANGE, [-1024, 0, -1024]),
        (
            "CT",
            "i2",
            [-1500, 1024, -2000],
            dict(zip(PADDING_RANGE, [*PADDING_RANGE.values()][::-1])),
            [-1024, 0, -1024],
        ),
        (
            "MR",
            "u2",
            [65535, 7, 0],
            {"PixelPaddingValue": ("US", 65535), "RescaleSlope": 2, "RescaleIntercept": 1},
            [0, 15, 1],
        ),
        ("PT", "u2", [65535, 0, 0], {"PixelPaddingValue": ("US", 65535)}, [0, 0, 0]),
    ],
)
def test_padding_is_air(tmp_path, modality, kind, stored, tags, values):
    volume = np.broadcast_to(np.array(stored, kind), (2, 2, 3))
    plain = {keyword: value for keyword, value in tags.items() if not isinstance(value, tuple)}
    for path in files.write_series(tmp_path, volume, modality=modality, **plain):
        made = pydicom.dcmread(path)
        for keyword in tags.keys() - plain.keys():
            made.add_new(keyword, *tags[keyword])
        files.save(made, path)
    assert open_series(tmp_path).read_volume()[0][:, 0, 0].tolist() == values


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_bits_stored_are_ignored(tmp_path, signed):
    """An overlay in bit 15 of a CT of 12 bits: not 32768 HU more."""
    values = np.array([[[-700, 0], [1000, 2047]]] * 2) if signed else np.array([[[0, 1], [1000, 4095]]] * 2)
    stored = (values & 0xFFF).astype(np.uint16) | np.uint16([[[0, 1 << 15], [1 << 15, 1 << 12]]] * 2)
    files.write_series(tmp_path, stored, **BITS_12, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(open_series(tmp_path).read_volume()[0], values.transpose(2, 1, 0) - 1024.0)


def enhanced(modality, stored, heights, frame_tags=None):
    """A multi-frame object with a shared orientation, and one position per frame."""
    made = files.dataset(modality)
    made.SOPClassUID = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}.get(
        modality, "1.2.840.10008.5.1.4.1.1.130"
    )
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    shape = stored.shape
    files.pixels(made, stored.reshape(-1, shape[2]))
    made.Rows, made.Columns, made.NumberOfFrames = shape[1], shape[2], shape[0]

    def item(**tags):
        one = pydicom.Dataset()
        files.put(one, **tags)
        return one

    transformation = item(RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU")
    made.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[1.5, 2], SliceThickness=3, SpacingBetweenSlices=3)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=files.AXIAL)],
            PixelValueTransformationSequence=[transformation],
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[-20, 31.5, height])]) for height in heights
    ]
    return made


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("towards", [1, -1])
def test_enhanced_multi_frame(tmp_path, modality, towards):
    stored = files.numbers(dtype=np.uint16)
    made = enhanced(modality, stored, [100 + 3 * i for i in range(5)][::towards])
    files.save(made, tmp_path / "all")
    source = open_series(tmp_path)
    volume, grid = source.read_volume()
    np.testing.assert_array_equal(volume, stored[::towards].transpose(2, 1, 0) * 2.0 - 1024)
    expected = [[-2, 0, 0, 20], [0, -1.5, 0, -31.5], [0, 0, 3, 100], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine, expected, atol=1e-9)
    assert source.read_grid().is_close(grid, 1e-9)


def test_padding_of_multi_frame_files(tmp_path):
    stored = files.numbers(dtype=np.uint16)
    stored[:, 0] = 63536
    made = enhanced("CT", stored, [100 + 3 * i for i in range(5)])
    made.PixelPaddingValue = 63536
    files.save(made, tmp_path / "all")
    volume, _ = open_series(tmp_path).read_volume()
    np.testing.assert_array_equal(volume[:, 0], -1024.0)
    np.testing.assert_array_equal(volume[:, 1:], stored[:, 1:].transpose(2, 1, 0) * 2.0 - 1024)


def test_multi_frame_that_is_refused(tmp_path):
    heights = [100, 103, 106, 109, 112]
    files.save(enhanced("PT", files.numbers(dtype=np.uint16), heights), tmp_path / "a/x")
    refused(tmp_path / "a", r"multi-frame \(enhanced\) PET is not supported")
    files.save(enhanced("CT", files.numbers(dtype=np.uint16), [100, 103, 103, 109, 112]), tmp_path / "b/x")
    refused(tmp_path / "b", "1 of 5 images have the position of another image")
    files.save(enhanced("CT", files.numbers(dtype=np.uint16), heights), tmp_path / "c/x")
    other = enhanced("CT", files.numbers(dtype=np.uint16), heights)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    files.save(other, tmp_path / "c/y")
    refused(tmp_path / "c", "in one file, got 2 files")


SHIPPED = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"


def shipped(name):
    """A real file of pydicom's own tests."""
    if not (SHIPPED / name).exists():
        pytest.skip(f"this pydicom does not ship {name}")
    return SHIPPED / name


@pytest.mark.parametrize(
    "name", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded", "truncated"]
)
def test_one_real_mr_in_all_encodings(tmp_path, name):
    for one in ("MR_small.dcm", f"MR_small_{name}.dcm" if name != "truncated" else "MR_truncated.dcm"):
        (tmp_path / one).mkdir()
        shutil.copy(shipped(one), tmp_path / one)
    expected, grid = open_series(tmp_path / "MR_small.dcm").read_volume()
    assert expected.min() == 127 and expected.max() == 2145
    if name == "truncated":
        refused(tmp_path / one, "the file is cut off")
        return
    values, other = open_series(tmp_path / one).read_volume()
    np.testing.assert_array_equal(values, expected)
    assert other.is_close(grid, 1e-6)


def test_a_real_segmentation_that_was_cut():
    path = shipped("liver_1frame.dcm")
    with pytest.raises(UserError, match="expected 1 items in PerFrameFunctionalGroupsSequence .* got 3"):
        DicomLabel((path,)).read_label()


def test_a_sparse_segmentation_of_real_slices(tmp_path):
    """Four real CT slices, one of which is 200 mm away: refused with it; without it, one frame is one slice."""
    slices = sorted(shipped("dicomdirtests/77654033/CT2").iterdir())
    for one in slices:
        shutil.copy(one, tmp_path)
    refused(tmp_path, "161 slices are missing between the positions -99.48 and 103.02 mm")
    (tmp_path / "17106").unlink()
    series = open_series(tmp_path)
    datasets = [pydicom.dcmread(path) for path in series.stacked_files()]
    mask = np.zeros((3, 16, 16), np.uint8)
    mask[2, 3:7, 4:9] = 1
    path = write_seg(tmp_path.with_suffix(".dcm"), datasets, {"GTV": mask}, omit_empty_frames=True)
    values, grid, warnings = DicomLabel((path,), series).read_label_with_warnings()
    np.testing.assert_array_equal(values, mask.transpose(2, 1, 0))
    assert not warnings and grid.voxel_volume_ml * values.sum() == pytest.approx(20 * 0.488281**2 * 1.25 / 1000)
