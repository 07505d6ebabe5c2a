"""DICOM pixels that are compressed, or many frames in one file."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

from semicml_tf.files.dicom_series import open_series
from tests import dicom_files as files
from tests.test_files_dicom_series import refused

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


def test_an_overlay_behind_jpeg_2000_is_no_part_of_the_values(tmp_path):
    stored = files.numbers((2, 16, 16), dtype=np.uint16)
    paths = files.write_series(tmp_path / "s", stored | np.uint16(1 << 15))
    _recompressed(paths, JPEG2000Lossless)
    for path in paths:
        made = pydicom.dcmread(path)
        files.put(made, BitsStored=12, HighBit=11)
        files.save(made, path)
    np.testing.assert_array_equal(open_series(tmp_path / "s").read_volume()[0], stored.transpose(2, 1, 0) - 1024.0)


def test_compression_that_nothing_decodes(tmp_path):
    paths = files.write_series(tmp_path, files.numbers((2, 4, 4)))
    for path in paths:
        made = pydicom.dcmread(path)
        made.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        made.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(20)])
        made["PixelData"].is_undefined_length = True
        files.save(made, path)
    error = refused(tmp_path, "compressed by .*which nothing that is installed here decodes")
    assert "pip install" in error.remedy


def enhanced(modality, stored, heights, frame_tags=None):
    """A multi-frame object with a shared orientation, and a position a frame."""
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
    refused(tmp_path / "b", "1 of 5 images lie where another one lies")
    files.save(enhanced("CT", files.numbers(dtype=np.uint16), heights), tmp_path / "c/x")
    other = enhanced("CT", files.numbers(dtype=np.uint16), heights)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    files.save(other, tmp_path / "c/y")
    refused(tmp_path / "c", "in one file, got 2 files")
