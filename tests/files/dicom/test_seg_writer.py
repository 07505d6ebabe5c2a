"""A DICOM series in, a DICOM-SEG out: opened again by readers that share no code with its writer."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from scipy.spatial import cKDTree

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.segmentation import read_mask
from semicml_tf.files.dicom.series import open_series
from semicml_tf.phantom import case as cases
from semicml_tf.phantom.dicom_writer import write_dicom
from tests.files.dicom.test_encodings import enhanced
from tests.support import dicom_files

SERIES = {"ct": "CT", "pet": "PT"}


@pytest.fixture(scope="module")
def predicted(models, tmp_path_factory):
    """By modality: the series' folder, its mask as DICOM-SEG and as NIfTI."""
    folder = tmp_path_factory.mktemp("dicom")
    made = next(
        case
        for case in (
            cases.generate(0, n, size_mm=(120, 120, 64), spacing_mm=(4, 4, 4), empty_fraction=0, oblique=True)
            for n in range(20)
        )
        if case.label.any()
    )
    write_dicom(folder / "study", made)
    found = {}
    for modality in SERIES:
        series = next((folder / "study").rglob(f"{modality}/*.dcm")).parent
        outputs = folder / f"{modality}.dcm", folder / f"{modality}.nii.gz"
        for output in outputs:
            commandline.call(
                "semicml_tf.predict", [f"--model={models / modality}", f"--input={series}", f"--output={output}"]
            )
        found[modality] = (series, *outputs)
    return found


def nifti(path):
    """The mask as voxel indices (n, 3) sorted, their places in DICOM's axes, and the whole array."""
    image = nibabel.load(path)
    array = np.asarray(image.dataobj)
    places = nibabel.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ image.affine, np.argwhere(array))
    return array, places


def check_same(found, expected):
    """Both are the same places in mm, one for one."""
    assert len(found) == len(expected)
    distance, index = cKDTree(expected).query(found)
    assert distance.max() < 0.05 and len(np.unique(index)) == len(expected)


@pytest.mark.parametrize("modality", SERIES)
def test_each_voxel_is_written_at_its_position(predicted, modality):
    series, seg, mask = predicted[modality]
    array, expected = nifti(mask)
    assert array.any() and not array.all()
    dataset = pydicom.dcmread(seg)
    images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, series.glob("*.dcm"))}
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    count = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    frames = bits[:count].reshape(dataset.NumberOfFrames, dataset.Rows, dataset.Columns)
    spacing = [float(x) for x in dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    assert shared.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1
    places = []
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        places.append(corner + np.outer(columns * spacing[1], cosines[:3]) + np.outer(rows * spacing[0], cosines[3:]))
        # Each frame refers to the image at its own position.
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        image = images[source.ReferencedSOPInstanceUID]
        np.testing.assert_allclose(corner, np.array(image.ImagePositionPatient, float), atol=1e-3)
    found = np.concatenate(places)
    check_same(found, expected)
    first = next(iter(images.values()))
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert dataset[keyword].value == first[keyword].value
    (reference,) = dataset.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == first.SeriesInstanceUID
    named = {item.ReferencedSOPInstanceUID for item in reference.ReferencedInstanceSequence}
    assert named == set(images)


def test_header_of_the_written_object(predicted):
    dataset = pydicom.dcmread(predicted["pet"][1])
    assert dataset.Modality == "SEG" and dataset.SegmentationType == "BINARY"
    assert dataset.ContentDescription == "Research only, not for clinical use"
    (segment,) = dataset.SegmentSequence
    assert "research only" in segment.SegmentLabel and segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "semicml_tf pet" and "run-pet" in algorithm.AlgorithmParameters
    again = pydicom.dcmread(predicted["ct"][1])
    assert again.SOPInstanceUID != dataset.SOPInstanceUID and again.SeriesInstanceUID != dataset.SeriesInstanceUID


@pytest.mark.parametrize("modality", SERIES)
def test_simpleitk_and_this_package_read_the_same_mask(predicted, modality):
    _, seg, mask = predicted[modality]
    array, expected = nifti(mask)
    image = SimpleITK.ReadImage(str(seg))
    frames = SimpleITK.GetArrayFromImage(image)
    assert np.count_nonzero(frames) == array.sum()
    found, grid = read_mask(pathlib.Path(seg), pydicom.dcmread(seg), [1])
    places = nibabel.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ grid.affine, np.argwhere(found))
    check_same(places, expected)


# Beside this interpreter, or on the PATH.
PROGRAMS = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
DCMQI = shutil.which("segimage2itkimage", path=PROGRAMS)


@pytest.mark.skipif(DCMQI is None, reason="needs dcmqi: make test-backends")
@pytest.mark.parametrize("modality", SERIES)
def test_dcmqi_reads_the_same_mask(predicted, modality, tmp_path):
    _, seg, mask = predicted[modality]
    command = [DCMQI, "--inputDICOM", str(seg), "--outputDirectory", str(tmp_path), "-t", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    found, expected = nifti(next(tmp_path.glob("*.nii.gz"))), nifti(mask)
    check_same(found[1], expected[1])


@pytest.mark.skipif(DCMQI is None, reason="needs dcmqi: make test-backends")
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_segmentations_of_dcmqi_are_read(kind, tmp_path):
    """Two slices 9 mm apart of a tilted series whose files run against the normal."""
    tilted = dicom_files.axes((np.cos(0.3), np.sin(0.3), 0), (-np.sin(0.3), np.cos(0.3), 0))
    dicom_files.write_series(tmp_path / "ct", dicom_files.numbers((6, 12, 16)), orientation=tilted, step=(0, 0, -3))
    series = open_series(tmp_path / "ct")
    grid = series.read_grid()
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:7, 3:9, 1], mask[3:5, 4:6, 4] = 1, 1
    nibabel.save(nibabel.Nifti1Image(mask, grid.affine), tmp_path / "mask.nii.gz")
    code = {"CodeValue": "85756007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Tissue"}
    codes = {f"SegmentedProperty{what}CodeSequence": code for what in ("Category", "Type")}
    segment = {
        "labelID": 1,
        "SegmentDescription": "GTV",
        "SegmentLabel": "GTV",
        "SegmentAlgorithmType": "MANUAL",
        **codes,
    }
    about = {"SeriesDescription": "x", "SeriesNumber": "9", "InstanceNumber": "1", "ContentCreatorName": "x"}
    (tmp_path / "meta.json").write_text(json.dumps({**about, "segmentAttributes": [[segment]]}))
    command = [str(pathlib.Path(DCMQI).with_name("itkimage2segimage")), "--inputDICOMDirectory", str(tmp_path / "ct")]
    command += ["--inputImageList", str(tmp_path / "mask.nii.gz"), "--inputMetadata", str(tmp_path / "meta.json")]
    command += ["--outputDICOM", str(tmp_path / "seg.dcm"), "--segmentationType", kind]
    subprocess.run(command, check=True, capture_output=True)
    values, _, warnings = DicomLabel((tmp_path / "seg.dcm",), series).read_label_with_warnings()
    np.testing.assert_array_equal(values, mask)
    assert not warnings
    values, own = DicomLabel((tmp_path / "seg.dcm",)).read_label()
    assert values.sum() == mask.sum() and own.spacing_mm == pytest.approx(grid.spacing_mm)


def test_mistakes_are_one_line(models, predicted, tmp_path):
    def refused(message, source, output, model="ct"):
        with pytest.raises(UserError, match=message) as caught:
            commandline.call("semicml_tf.predict", [f"--model={models / model}", str(source), str(tmp_path / output)])
        assert "\n" not in caught.value.line and not (tmp_path / output).exists()

    series, _, mask = predicted["ct"]
    refused("got a file as input", mask, "seg.dcm")
    refused("expected a DICOM series of 'pet', got ct", series, "seg.dcm", "pet")
    (tmp_path / "empty").mkdir()
    refused("no DICOM image", tmp_path / "empty", "seg.dcm")


def test_a_folder_of_series_and_of_studies(models, predicted, tmp_path):
    series, _, mask = predicted["ct"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "P1").symlink_to(series.parent)  # CT, PET and label
    commandline.call("semicml_tf.predict", [f"--model={models / 'ct'}", str(tmp_path / "in"), str(tmp_path / "out")])
    found = np.asarray(nibabel.load(tmp_path / "out" / "P1.nii.gz").dataobj)
    np.testing.assert_array_equal(found, nifti(mask)[0])


def test_a_folder_of_studies_gives_dicom_seg_and_names_failed_cases(models, predicted, tmp_path):
    series, seg, mask = predicted["ct"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "P1").symlink_to(series.parent)
    shutil.copy(mask, tmp_path / "in" / "file.nii.gz")
    heights = [100 + 3 * index for index in range(7)]
    dicom_files.save(
        enhanced("CT", dicom_files.numbers((7, 5, 6), np.uint16), heights), tmp_path / "in" / "P2" / "x.dcm"
    )
    flags = [f"--model={models / 'ct'}", str(tmp_path / "in"), str(tmp_path / "out"), "--dicom_seg"]
    with pytest.raises(UserError, match="2 of 3 cases failed"):
        commandline.call("semicml_tf.predict", flags)
    cases = json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"]
    assert "a DICOM-SEG cannot refer to multi-frame files" in cases["P2"]["error"]
    assert "got a file as input" in cases["file"]["error"] and cases["P1"]["status"] == "done"
    assert [path.name for path in (tmp_path / "out").glob("*.*m")] == ["P1.dcm"]
    assert (tmp_path / "out" / "P1.dcm").read_bytes()[:132][-4:] == b"DICM"
    made, expected = pydicom.dcmread(tmp_path / "out" / "P1.dcm"), pydicom.dcmread(seg)
    assert made.PixelData == expected.PixelData and made.SOPInstanceUID == expected.SOPInstanceUID
    with pytest.raises(UserError, match="--dicom_seg writes .dcm files"):
        commandline.call("semicml_tf.predict", [flags[0], str(series), str(tmp_path / "m.nii.gz"), "--dicom_seg"])
