"""Series of DICOM files as volumes: values, geometry, and what is refused."""

import logging
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import series
from semicml_tf.files.dicom.series import open_series
from tests.support import dicom_files as files

BITS_12 = {"BitsStored": 12, "HighBit": 11}
TILTED = files.axes((np.cos(0.3), np.sin(0.3), 0), (-np.sin(0.3) * 0.8, np.cos(0.3) * 0.8, -0.6))
ORIENTATIONS = {
    "axial": files.AXIAL,
    "coronal": files.axes((1, 0, 0), (0, 0, -1)),
    "sagittal": files.axes((0, 1, 0), (0, 0, -1)),
    "feet up": files.axes((-1, 0, 0), (0, 1, 0)),
    "oblique": TILTED,
}


def refused(folder, message):
    """Checks that reading values and grid fails, and that the message has no data of the patient."""
    with pytest.raises(UserError, match=message) as caught:
        open_series(folder).read_volume()
    assert not any(secret in caught.value.line for secret in files.SECRETS)
    assert str(folder) not in caught.value.problem + (caught.value.remedy or "")
    return caught.value


def sitk_volume(folder):
    """The same series by SimpleITK's reader: values (column, row, slice) and affine to RAS+."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1.0, -1, 1, 1]) @ affine


def test_values_and_grid_in_closed_form(tmp_path):
    stored = files.numbers()
    files.write_series(tmp_path, stored, origin=(-20, 31.5, 100), spacing=(1.5, 2), thickness=3)
    source = open_series(tmp_path)
    volume, grid = source.read_volume()
    assert volume.dtype == np.float32 and volume.shape == grid.shape == (7, 6, 5)
    np.testing.assert_array_equal(volume, stored.transpose(2, 1, 0) - 1024)
    # Columns are 2 mm apart and run to the left, rows 1.5 mm to the back: negative in RAS+.
    expected = [[-2, 0, 0, 20], [0, -1.5, 0, -31.5], [0, 0, 3, 100], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine, expected, atol=1e-9)
    assert source.read_grid().is_close(grid, 1e-9) and source.missing() is None
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("towards", [1, -1])
def test_orientations_as_simpleitk_reads_them(tmp_path, name, towards):
    orientation = ORIENTATIONS[name]
    step = towards * 2.5 * np.cross(orientation[:3], orientation[3:])
    order = np.random.default_rng(1).permutation(5)
    files.write_series(tmp_path, files.numbers(), orientation=orientation, step=step, order=order, thickness=2.5)
    volume, grid = open_series(tmp_path).read_volume()
    expected, affine = sitk_volume(tmp_path)
    np.testing.assert_array_equal(volume, expected)
    np.testing.assert_allclose(grid.affine, affine, atol=1e-5)
    # The third axis is row direction x column direction, whichever way the files run.
    assert np.linalg.det(grid.affine[:3, :3]) > 0
    np.testing.assert_array_equal(volume, (files.numbers()[::towards]).transpose(2, 1, 0) - 1024)


def test_hounsfield_units_slice_by_slice(tmp_path):
    stored = np.full((3, 4, 4), 1000, np.uint16)
    rescale = [(1, -1024), (0.5, -1000), (2, 0)]
    files.write_series(tmp_path, stored, each=lambda i: dict(zip(("RescaleSlope", "RescaleIntercept"), rescale[i])))
    assert open_series(tmp_path).read_volume()[0][0, 0].tolist() == [-24, -500, 2000]


def test_mr_values_with_and_without_rescale(tmp_path):
    stored = files.numbers() - 500  # signed
    files.write_series(tmp_path / "a", stored, modality="MR")
    np.testing.assert_array_equal(open_series(tmp_path / "a").read_volume()[0], stored.transpose(2, 1, 0))
    files.write_series(tmp_path / "b", stored, modality="MR", RescaleSlope=2.5, RescaleIntercept=7)
    np.testing.assert_array_equal(open_series(tmp_path / "b").read_volume()[0], stored.transpose(2, 1, 0) * 2.5 + 7)


@pytest.mark.parametrize(
    "tags,message",
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "one slice per image, got a Siemens mosaic"),
        ({"BitsStored": 17}, r"expected BitsStored \(0028,0101\) of at most BitsAllocated .*got 16 bits allocated, 17"),
        ({"BitsStored": 12, "HighBit": 15}, "got 16 bits allocated, 12 stored, high bit 15"),
        ({"PixelSpacing": ["1e-300", "1e-300"]}, "PixelSpacing .* has no usable numbers"),
        ({"ImagePositionPatient": ["1e20", "0", "0"]}, "ImagePositionPatient .* has no usable numbers"),
        ({"RescaleIntercept": None}, r"expected the tag RescaleIntercept \(0028,1052\), got only the other tag"),
        ({"RescaleSlope": "1e-300"}, "RescaleSlope .* is 1e-300: the slope is unusable"),
    ],
)
def test_implausible_tags_are_refused(tmp_path, tags, message):
    with pydicom.config.disable_value_validation():
        files.write_series(tmp_path, files.numbers((2, 4, 4)), modality="CT", **tags)
    refused(tmp_path, message)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"])
def test_a_uid_that_is_no_transfer_syntax(tmp_path, syntax):
    paths = files.write_series(tmp_path, files.numbers((2, 4, 4)))
    known = pydicom.uid.ExplicitVRLittleEndian.encode()
    paths[1].write_bytes(
        paths[1].read_bytes().replace(known.ljust(20, b"\0"), syntax.encode().ljust(20, b"\0")[:20], 1)
    )
    refused(tmp_path, r"TransferSyntaxUID \(0002,0010\).*got another UID")


def test_names_and_folders_of_files_do_not_matter(tmp_path):
    paths = files.write_series(tmp_path / "x", files.numbers(), names="IM{:04d}", order=[3, 0, 4, 1, 2])
    first = open_series(tmp_path / "x")
    (tmp_path / "y/deep er/schön").mkdir(parents=True)
    for number, path in enumerate(paths):
        shutil.copy(path, tmp_path / ("y/deep er" if number % 2 else "y/deep er/schön") / str(number))
    (tmp_path / "y/DICOMDIR").write_bytes(paths[0].read_bytes()[:400])
    (tmp_path / "y/readme").write_text("no DICOM file")
    (tmp_path / "y/loop").symlink_to(tmp_path / "y")
    second = open_series(tmp_path / "y")
    assert second.folder == tmp_path / "y/deep er" and len(second.files) == 5
    assert first.digest() == second.digest()
    np.testing.assert_array_equal(first.read_volume()[0], second.read_volume()[0])
    paths[0].unlink()
    assert first.missing() == paths[0]


def test_digest_follows_the_bytes(tmp_path):
    paths = files.write_series(tmp_path, files.numbers())
    before = open_series(tmp_path).digest()
    paths[2].write_bytes(paths[2].read_bytes()[:-1] + b"\x07")
    assert open_series(tmp_path).digest() != before


def test_one_slice_takes_its_thickness(tmp_path):
    files.write_series(tmp_path / "a", files.numbers((1, 4, 4)), thickness=4.5)
    assert open_series(tmp_path / "a").read_volume()[1].spacing_mm == pytest.approx((2, 1.5, 4.5))
    files.write_series(tmp_path / "b", files.numbers((1, 4, 4)), SliceThickness=None)
    refused(tmp_path / "b", r"one slice needs the tag SliceThickness \(0018,0050\)")


def test_slightly_uneven_positions_pass(tmp_path):
    jitter = [0, 0.2, -0.2, 0.1, 0]
    files.write_series(
        tmp_path,
        files.numbers(),
        each=lambda i: {"ImagePositionPatient": [-20, 31.5, 100 + 3 * i + jitter[i]]},
    )
    grid = open_series(tmp_path).read_volume()[1]
    assert grid.affine[2, 2] == pytest.approx(3)


def at(*heights):
    return lambda i: {"ImagePositionPatient": [-20, 31.5, heights[i]]}


@pytest.mark.parametrize(
    "heights,message",
    [
        ((0, 3, 9, 12, 15), "a slice is missing between the positions 3.00 and 9.00 mm .*median distance is 3.00"),
        ((0, 3, 6, 9, 21), "3 slices are missing between the positions 9.00 and 21.00 mm"),
        ((0, 3, 9, 12, 18), "a slice is missing between .*and at 1 more places"),
        ((0, 3, 6, 10, 13), "not evenly spaced: their distances range from 3.000 to 4.000 mm"),
        ((0, 3, 3, 6, 9), "1 of 5 images have the position of another image .first at 3.00 mm"),
        ((0, 0, 3, 3, 3), "3 of 5 images have the position of another image"),
    ],
)
def test_positions_that_are_no_stack(tmp_path, heights, message):
    files.write_series(tmp_path, files.numbers(), each=at(*heights))
    error = refused(tmp_path, message)
    assert error.path.endswith(".dcm") and error.remedy
    with pytest.raises(UserError):
        open_series(tmp_path).read_grid()


def test_gantry_tilt(tmp_path):
    files.write_series(tmp_path, files.numbers(), step=(0, 3 * np.sin(0.26), 3 * np.cos(0.26)))
    refused(tmp_path, r"at an angle of 14\.9 degrees to their normal \(gantry tilt\)")


def test_a_drift_below_half_a_pixel_is_no_tilt(tmp_path):
    files.write_series(tmp_path, files.numbers(), step=(0.1, 0, 3))
    assert open_series(tmp_path).read_volume()[0].shape == (7, 6, 5)


def other_at_2(**tags):
    return lambda i: tags if i == 2 else {}


@pytest.mark.parametrize(
    "tags,message",
    [
        ({"ImageOrientationPatient": files.axes((0, 1, 0), (0, 0, -1))}, "slices of one orientation"),
        ({"PixelSpacing": [1.5, 2.5]}, r"one PixelSpacing \(0028,0030\)"),
        ({"ImagePositionPatient": None}, r"the tag ImagePositionPatient \(0020,0032\).*got none"),
        ({"ImageOrientationPatient": None}, r"the tag ImageOrientationPatient \(0020,0037\).*got none"),
        ({"PixelSpacing": None}, r"the tag PixelSpacing \(0028,0030\).*got none"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient .* has no usable numbers"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing .* has no usable numbers"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "expected a grey image, got a colour one"),
        ({"RescaleSlope": 0}, r"RescaleSlope \(0028,1053\) is 0"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "rescale slope, got a table"),
        ({"SOPInstanceUID": "1.2.3.1.1"}, "the file is a copy of another image"),
    ],
)
def test_one_inconsistent_slice_is_refused(tmp_path, tags, message):
    files.write_series(tmp_path, files.numbers(), each=other_at_2(**tags))
    refused(tmp_path, message)


def test_slices_of_two_sizes(tmp_path):
    paths = files.write_series(tmp_path, files.numbers())
    made = pydicom.dcmread(paths[3])
    files.pixels(made, np.zeros((4, 7), np.int16))
    files.save(made, paths[3])
    refused(tmp_path, "slices of one size, got 6 x 7 and 4 x 7")


def test_colour(tmp_path):
    paths = files.write_series(tmp_path, files.numbers((2, 4, 4)))
    for path in paths:
        made = pydicom.dcmread(path)
        files.pixels(made, np.zeros((4, 4), np.uint8))
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
        made.PixelData = bytes(48)
        files.save(made, path)
    refused(tmp_path, "expected a grey image, got a colour one")


def test_two_series_in_one_folder(tmp_path):
    files.write_series(tmp_path, files.numbers(), SeriesDescription="thin")
    files.write_series(tmp_path, files.numbers((2, 4, 4)), series="2", names="b{}", SeriesDescription="thick")
    refused(tmp_path, r"got 2: #1 'thin' \(5 files\); #2 'thick' \(2 files\)")
    assert len(open_series(tmp_path, description="^THICK$").files) == 2
    with pytest.raises(UserError, match="got 2, none with that description"):
        open_series(tmp_path, description="other")


def test_localizers_and_other_objects_are_ignored(tmp_path):
    files.write_series(tmp_path, files.numbers())
    scout = files.axes((1, 0, 0), (0, 0, -1))
    localizer = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    files.write_series(
        tmp_path, files.numbers((1, 9, 9)), series="2", names="scout{}", orientation=scout, ImageType=localizer
    )
    # The same within the series itself.
    files.write_series(tmp_path, files.numbers((1, 9, 9)), names="own{}", ImageType=localizer, SOPInstanceUID="1.9")
    report = files.dataset("SR", series="3")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    files.save(report, tmp_path / "report.dcm")
    palette = files.dataset(Modality=None, StudyInstanceUID=None, SeriesInstanceUID=None)
    palette.SOPClassUID = palette.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.39.1"
    files.save(palette, tmp_path / "palette.dcm")
    # A screenshot has the modality of the image that it shows, but no position.
    files.write_series(tmp_path, files.numbers((1, 9, 9)), series="4", names="shot{}", ImagePositionPatient=None)
    (shot,) = tmp_path.glob("shot*")
    made = pydicom.dcmread(shot)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    files.save(made, shot)
    assert open_series(tmp_path).read_volume()[0].shape == (7, 6, 5)


def test_volume_written_as_secondary_captures(tmp_path):
    for path in files.write_series(tmp_path, files.numbers()):
        made = pydicom.dcmread(path)
        made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
        files.save(made, path)
    assert open_series(tmp_path).read_volume()[0].shape == (7, 6, 5)


def test_no_series(tmp_path):
    with pytest.raises(UserError, match="expected one series of DICOM images .* got none"):
        open_series(tmp_path)
    with pytest.raises(UserError, match="expected a folder"):
        open_series(tmp_path / "none")


@pytest.mark.parametrize(
    "kept,message",
    [
        (0, "the file is empty"),
        (100, "expected a DICOM file, got something else"),
        (300, "damaged|cut off within its header|ends too early"),
        (-40, "the file is cut off"),
    ],
)
def test_files_that_are_cut_off(tmp_path, kept, message):
    paths = files.write_series(tmp_path, files.numbers())
    paths[4].write_bytes(paths[4].read_bytes()[:kept])  # the last slice: the others are a sound stack
    error = refused(tmp_path, message)
    assert error.path == str(paths[4])


@pytest.mark.parametrize("kept", np.linspace(0, 0.99, 34).round(3))
def test_a_file_truncated_anywhere_is_refused(tmp_path, kept):
    paths = files.write_series(tmp_path, files.numbers((3, 4, 4)))
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError) as caught:
        open_series(tmp_path).read_volume()
    assert not any(secret in caught.value.line for secret in files.SECRETS)


def test_a_series_is_no_label(tmp_path):
    files.write_series(tmp_path, files.numbers())
    with pytest.raises(UserError, match="expected a label map, got a series"):
        open_series(tmp_path).read_label()


def test_odd_tags_are_not_printed(tmp_path, caplog, recwarn):
    odd = {
        "PatientBirthDate": "SECRET BIRTH",
        "PatientAge": "SECRETAGE",
        "StudyInstanceUID": "SECRET.UID",
        "PatientID": "SECRET" * 30,
    }
    with pydicom.config.disable_value_validation():
        files.write_series(tmp_path, files.numbers(), modality="PT", each=lambda i: odd)
    with caplog.at_level(logging.DEBUG):
        open_series(tmp_path).read_volume()
    assert "SECRET" not in caplog.text
    assert not [str(one.message) for one in recwarn if "SECRET" in str(one.message)]


def test_without_pydicom_the_error_names_the_package(tmp_path):
    files.write_series(tmp_path, files.numbers((2, 4, 4)))
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from semicml_tf.errors import UserError\n"
        "from semicml_tf.files.dicom import series as dicom_series\n"
        "try: dicom_series.open_series(sys.argv[1])\n"
        "except UserError as error: print(error.line)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert 'reading DICOM needs pydicom, which is not installed. pip install "semicml-tf[dicom]"' in ran.stdout


def test_dicom_libraries_are_imported_on_first_use():
    code = "import sys, semicml_tf.files.layouts.dicom, semicml_tf.phantom.dicom_writer; print(sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = ran.stdout.strip("[]\n").replace("'", "").split(", ")
    # (nibabel imports pydicom by itself where it is installed.)
    assert not {"highdicom", "SimpleITK", "matplotlib", "tensorflow"} & set(there)


def test_source_has_no_data_of_the_patient(tmp_path):
    files.write_series(tmp_path, files.numbers())
    assert not any(secret in repr(open_series(tmp_path)) for secret in files.SECRETS)
    assert series.DicomSeries.__dataclass_params__.frozen
