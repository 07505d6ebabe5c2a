"""`inspect --export_nnunet`: files and values in closed form, without labels of test or unlabelled patients."""

import dataclasses
import json

import nibabel
import numpy as np
import pytest

from semicml_tf.files.layouts import catalogue
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample
from semicml_tf.records.dataset import DatasetInfo
from tests.records.test_inspect_command import NATIVE, case, inspect, records, refused, write
from tests.support import image_folders
from tests.support.conversions import convert, hecktor

# The network's grid, around NATIVE: 2.5 x 3 x 3 mm, axes in another order.
GRID = Grid((9, 6, 5), np.array([[0, 0, -3.0, 1], [0, -3, 0, 1], [2.5, 0, 0, -4], [0, 0, 0, 1]]))
FILES = [
    "dataset.json",
    *(f"imagesTr/{name}_{number:04d}.nii.gz" for name in "ABCG" for number in (0, 1)),
    *(f"imagesTs/F_{number:04d}.nii.gz" for number in (0, 1)),
    *(f"labelsTr/{name}.nii.gz" for name in "ABCG"),
    "splits_final.json",
]


def ramp(grid):
    """A value that is linear in space, which linear interpolation keeps."""
    index = np.stack([*np.indices(grid.shape), np.ones(grid.shape)], axis=-1)
    return index @ grid.affine.T @ np.array([0.01, 0.02, -0.01, 0.1])


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "data set", records() | {"validation": [case("G", labelled=True)]})


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def export(dataset, folder, *flags):
    inspect(dataset, f"--export_nnunet={folder}", *flags)


def test_names_splits_channels_and_labels(dataset, tmp_path, capsys):
    export(dataset, tmp_path / "raw")
    folder = tmp_path / "raw/Dataset001_data_set"
    assert files_in(folder) == FILES
    assert json.loads((folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "CT", "1": "pet"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 4,
        "numTest": 1,
        "file_ending": ".nii.gz",
        "data_hash": DatasetInfo.load(dataset).data_hash,
    }
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": ["A", "B", "C"], "val": ["G"]}]
    for name in "ABCG":
        label = nibabel.load(folder / f"labelsTr/{name}.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj), case(name, labelled=True).native_label)
        np.testing.assert_array_equal(label.affine, NATIVE.affine)
    shown = capsys.readouterr().out
    assert "3 labelled, 1 validation, 1 test cases; to score masks: evaluate --mask_values=lesion:1" in shown
    assert "note: images come from the records, resampled and clipped" in shown


def test_images_have_the_patients_own_grid_and_native_units(tmp_path):
    def of(name):
        image = ramp(GRID).astype(np.float16)
        whole = dataclasses.replace(case(name, labelled=True), grid=GRID, crop_offset=(0, 0, 0), full_shape=None)
        label = np.zeros(GRID.shape, np.uint8)
        label[4, 3, 3] = 1
        return dataclasses.replace(whole, images={"ct": image, "pet": image}, label=label)

    data = write(tmp_path / "data", {"labelled": [of("A")], "validation": [of("G")], "test": [of("F")]})
    export(data, tmp_path / "raw")
    for place in ("imagesTr/A", "imagesTr/G", "imagesTs/F"):
        for number, low, high in ((0, -200, 300), (1, 0, 15)):
            image = nibabel.load(tmp_path / f"raw/Dataset001_data/{place}_{number:04d}.nii.gz")
            assert image.shape == NATIVE.shape and image.get_data_dtype() == np.float32
            np.testing.assert_array_equal(image.affine, NATIVE.affine)
            # float16 below 1 has steps of at most 2^-11.
            expected = (ramp(NATIVE) + 1) / 2 * (high - low) + low
            np.testing.assert_allclose(image.get_fdata(), expected, atol=2.0**-11 * (high - low) / 2)


def test_one_modality_and_a_second_export(dataset, tmp_path, capsys):
    raw = tmp_path / "raw"
    export(dataset, raw)
    export(dataset, raw, "--modalities=pet")
    pet_only = raw / "Dataset002_data_set_pet"
    assert files_in(pet_only) == [name for name in FILES if "_0001" not in name]
    assert json.loads((pet_only / "dataset.json").read_text())["channel_names"] == {"0": "pet"}
    pet_of_both = raw / "Dataset001_data_set/imagesTr/A_0001.nii.gz"
    assert (pet_only / "imagesTr/A_0000.nii.gz").read_bytes() == pet_of_both.read_bytes()
    arguments = (dataset, f"--export_nnunet={raw}", "--modalities=pet")
    assert "Dataset002_data_set_pet: this export exists already" in refused(capsys, *arguments)[0]
    (pet_only / "labelsTr/A.nii.gz").unlink()
    inspect(*arguments, "--overwrite")
    assert (pet_only / "labelsTr/A.nii.gz").exists() and len(list(raw.iterdir())) == 2
    (pet_only / "notes.txt").write_text("mine")
    assert "holds something else (notes.txt)" in refused(capsys, *arguments, "--overwrite")[0]


def test_patients_without_a_modality_are_skipped_and_counted(tmp_path, capsys):
    cases = records() | {"validation": [case("G", labelled=True)]}
    cases["labelled"][1] = case("B", labelled=True, modalities=("pet",))
    data = write(tmp_path / "data", cases)
    export(data, tmp_path / "raw")
    assert "note: skipped 1 labelled cases: a modality is missing" in capsys.readouterr().out
    assert json.loads((tmp_path / "raw/Dataset001_data/splits_final.json").read_text())[0]["train"] == ["A", "C"]
    export(data, tmp_path / "raw", "--modalities=pet")
    assert "skipped" not in capsys.readouterr().out


def test_wrong_options_are_refused(dataset, tmp_path, capsys):
    raw, shard = f"--export_nnunet={tmp_path / 'raw'}", dataset / "test-00000-of-00001.tfrecord"
    no_validation = write(tmp_path / "none", records())
    for arguments, message in (
        ([dataset, raw, "--modalities=mr"], "expected --modalities among ct, pet, got 'mr'"),
        ([dataset, raw, "--modalities=ct,ct"], "--modalities names a modality twice: ct,ct"),
        ([dataset, raw, "--case=A", "--output=x"], "expected --case or --export_nnunet, got both"),
        ([no_validation, raw], "expected a patient with ct and pet in partition 'validation', got none"),
        ([shard, raw], "--export_nnunet needs a dataset, got a shard"),
        ([dataset, raw, f"--input={tmp_path / 'gone'}"], "gone: there is no such folder or file to convert"),
    ):
        assert message in refused(capsys, *arguments)[0]
    assert not (tmp_path / "raw").exists()


def test_images_from_the_files_are_exact_and_the_export_can_be_converted(tmp_path, capsys):
    source = hecktor(tmp_path / "source")
    data = convert(source, tmp_path / "data")
    export(data, tmp_path / "raw", f"--input={source}")
    assert "note" not in capsys.readouterr().out
    folder = tmp_path / "raw/Dataset001_data"
    for name, part in (("P1", "Tr"), ("P3", "Tr"), ("P4", "Ts")):
        ct, grid = reader.read_volume(source / f"imagesTr/{name}__CT.nii.gz")
        pet, of_pet = reader.read_volume(source / f"imagesTr/{name}__PT.nii.gz")
        for number, expected in enumerate((ct, resample(pet, of_pet, grid))):
            written, place = reader.read_volume(folder / f"images{part}/{name}_{number:04d}.nii.gz")
            np.testing.assert_array_equal(written, expected)
            np.testing.assert_array_equal(place.affine, grid.affine)
    cases = catalogue.choose("auto", folder).find(folder, ("ct", "pet"))
    assert [(case.case_id, case.has_label()) for case in cases] == [("P1", True), ("P3", True), ("P4", False)]
    for cases, message in (
        (("P1", "P3"), "expected case P4 of the dataset in its input, got 2 other cases"),
        (("P4", "P3", "P2", "P1"), "P1__CT.nii.gz: case P1 was converted from another image of 'ct'"),
    ):
        other = image_folders.hecktor(tmp_path / f"other{len(cases)}", cases=cases)
        assert message in refused(capsys, data, f"--export_nnunet={tmp_path / 'again'}", f"--input={other}")[0]
    assert not list((tmp_path / "again").iterdir())
