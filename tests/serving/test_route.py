"""The router: models are chosen by the patient's modalities and by the servers that respond."""

import dataclasses
import json

import grpc
import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.serving.client.remote_failure import RemoteFailure
from semicml_tf.serving.route import routing
from tests.support import dicom_files, threshold_model
from tests.support.fake_prediction_server import Fake
from tests.support.fake_prediction_server import serving as serve

SHAPE = (20, 18, 12)
AFFINE = threshold_model.oblique()
VOLUMES = {name: threshold_model.clear_volume(name, SHAPE, seed=3) for name in ("ct", "pet")}
# Where each network alone draws.
ALONE = {name: VOLUMES[name] > threshold_model.LEVELS[name] for name in VOLUMES}
NOWHERE = "127.0.0.1:1"  # no one listens there


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    for name, values in VOLUMES.items():
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def fake():
    return Fake("ct", "pet")


@pytest.fixture
def address(fake):
    with serve(fake) as address:
        yield address


def route(tmp_path, address, given, *more):
    """The mask, and what the JSON beside it tells."""
    arguments = [f"--address={address}", given, str(tmp_path / "mask.nii.gz"), "--retries=0", *more]
    commandline.call("semicml_tf.serving.route", arguments)
    return np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj), json.loads((tmp_path / "mask.json").read_text())


def both(images, first="ct", second="pet"):
    return f"{first}={images / f'{first}.nii.gz'},{second}={images / f'{second}.nii.gz'}"


@pytest.mark.parametrize("name", ["ct", "pet"])
def test_a_patient_with_one_modality_is_segmented_by_its_model(images, address, tmp_path, capsys, name):
    mask, told = route(tmp_path, address, f"{name}={images / name}.nii.gz")
    np.testing.assert_array_equal(mask, ALONE[name])
    assert (told["used"], told["fused"], told["grid_of"]) == ([name], False, name)
    assert told["how"] == f"{name} version 1 alone"
    assert told["why"] == f"the patient has {name} only, and its model answers"
    model = told["modalities"][name]["model"]
    assert (model["name"], model["version"], model["run_hash"]) == (name, 1, f"run-{name}")
    assert (model["data_hash"], model["validation_dice"], model["address"]) == (f"data-{name}", 0.75, address)
    assert told["mask"]["voxels"] == int(mask.sum())
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"route: {told['how']} ({told['why']})" and out[1].endswith(f"ml, from {name}")


def test_a_patient_with_both_modalities_gets_the_mean_on_the_first_grid(images, address, tmp_path, capsys):
    mask, told = route(tmp_path, address, both(images), f"--probabilities={tmp_path / 'p.nii.gz'}")
    p = np.asarray(nibabel.load(tmp_path / "p.nii.gz").dataobj)
    np.testing.assert_allclose(p, (ALONE["ct"].astype(float) + ALONE["pet"]) / 2, atol=1e-6)
    np.testing.assert_array_equal(mask, ALONE["ct"] | ALONE["pet"])
    assert told["how"] == "mean of the probabilities of ct version 1 and pet version 1, on the grid of ct"
    assert told["why"] == "the patient has ct and pet, and a model of each answers"
    assert told["mask"]["compared"] == 1.0
    assert "from ct and pet, 100% of the voxels compared" in capsys.readouterr().out
    assert route(tmp_path, address, both(images, "pet", "ct"))[1]["grid_of"] == "pet"


def test_a_model_that_the_server_lacks_is_skipped_and_reported(images, fake, address, tmp_path, capsys):
    del fake.versions["ct"]
    mask, told = route(tmp_path, address, both(images))
    np.testing.assert_array_equal(mask, ALONE["pet"])
    assert (told["used"], told["fused"], told["grid_of"]) == (["pet"], False, "pet")
    assert "has no model 'ct'" in told["modalities"]["ct"]["left_out"] and not told["modalities"]["ct"]["used"]
    assert "; ct is left out: the server at" in told["why"]
    assert "route: ct is left out: the server at" in capsys.readouterr().err
    with pytest.raises(RemoteFailure, match="has no model 'ct'"):
        route(tmp_path, address, both(images), "--strict")
    with pytest.raises(RemoteFailure, match="no model answers: ct: "):
        route(tmp_path, address, f"ct={images / 'ct.nii.gz'}")


def test_a_server_that_is_down_is_skipped(images, address, tmp_path):
    there = f"ct={address},pet={NOWHERE}"
    mask, told = route(tmp_path, there, both(images))
    np.testing.assert_array_equal(mask, ALONE["ct"])
    assert "cannot be reached" in told["modalities"]["pet"]["left_out"]
    with pytest.raises(RemoteFailure, match="cannot be reached"):
        route(tmp_path, there, both(images), "--strict")
    with pytest.raises(UserError, match="expected an address for 'pet'"):
        route(tmp_path, f"ct={address}", both(images))


def test_a_model_that_fails_during_a_volume_is_skipped(images, fake, address, tmp_path):
    def fail(number):
        if number == 2:
            fake.fail = grpc.StatusCode.INTERNAL, 1

    fake.each = fail
    mask, told = route(tmp_path, address, both(images), "--batch_size=4", "--parallel=1")
    np.testing.assert_array_equal(mask, ALONE["pet"])
    assert "INTERNAL" in told["modalities"]["ct"]["left_out"]
    # What must be mended, and is no absence, is an error whether strict or not.
    fake.each, fake.fail = lambda number: None, (grpc.StatusCode.INVALID_ARGUMENT, 1)
    with pytest.raises(RemoteFailure, match="INVALID_ARGUMENT"):
        route(tmp_path, address, both(images))


def test_a_model_that_is_replaced_during_a_volume_restarts_with_the_new_version(
    images, fake, address, tmp_path, capsys
):
    def swap(number):
        if number == 2:
            fake.versions["ct"] = {2: dataclasses.replace(threshold_model.manifest("ct"), run_hash="second")}

    fake.each = swap
    mask, told = route(tmp_path, address, both(images), "--batch_size=4", "--parallel=1")
    assert told["used"] == ["ct", "pet"]
    assert told["modalities"]["ct"]["model"]["version"] == 2
    assert told["modalities"]["ct"]["model"]["run_hash"] == "second"
    assert "starting again with the new version" in capsys.readouterr().err


def test_wrong_units_are_an_error_and_do_not_skip_the_image(images, address, tmp_path):
    swapped = f"ct={images / 'pet.nii.gz'},pet={images / 'ct.nii.gz'}"
    with pytest.raises(UserError, match="pet.nii.gz: 'ct' has values .* expected CT in HU"):
        route(tmp_path, address, swapped)
    assert not (tmp_path / "mask.nii.gz").exists() and not (tmp_path / "mask.json").exists()


def test_a_model_under_another_modalitys_name_is_refused(images, fake, address, tmp_path):
    fake.versions["pet"] = fake.versions["ct"]
    with pytest.raises(UserError, match="the model 'pet' .* is one of modality 'ct'"):
        route(tmp_path, address, both(images))


def test_the_modalities_of_a_dicom_study_are_read_from_its_headers(fake, address, tmp_path):
    stored = np.random.default_rng(0).integers(0, 1500, (6, 17, 19)).astype(np.int16)
    study = tmp_path / "study"
    dicom_files.write_series(study / "a", stored, modality="CT", series="1")
    assert routing.images_of(str(study)) == {"ct": study}
    mask, told = route(tmp_path, address, str(study))
    assert told["how"] == "ct version 1 alone" and mask.shape == (19, 17, 6)
    dicom_files.write_series(study / "b", 20 * stored, modality="PT", series="2")
    assert list(routing.images_of(str(study))) == ["ct", "pet"]
    mask, told = route(tmp_path, address, str(study))
    assert told["used"] == ["ct", "pet"] and mask.shape == (19, 17, 6)


def test_ambiguous_inputs_are_reported_in_one_line(images, address, tmp_path):
    for given, message in (
        (str(images / "ct.nii.gz"), "the modality of this image is unknown"),
        (f"ct={images / 'no.nii.gz'}", "there is no such file"),
        (f"ct={images / 'ct.nii.gz'},ct={images / 'pet.nii.gz'}", "two images of 'ct'"),
    ):
        with pytest.raises(UserError, match=message):
            route(tmp_path, address, given)
    with pytest.raises(UserError, match="expected one patient's mask"):
        commandline.call("semicml_tf.serving.route", [f"--address={address}", both(images), str(tmp_path / "masks")])
    mask, _ = route(tmp_path, address, str(images / "ct.nii.gz"), "--modality=ct")
    np.testing.assert_array_equal(mask, ALONE["ct"])


def test_the_record_is_written_to_the_given_path(images, address, tmp_path):
    arguments = [f"--address={address}", both(images), str(tmp_path / "m.nii.gz"), f"--json={tmp_path / 'r.json'}"]
    commandline.call("semicml_tf.serving.route", arguments)
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["route_version"] == 1 and told["mask"]["path"] == str(tmp_path / "m.nii.gz")
    assert not (tmp_path / "m.json").exists()
    commandline.call("semicml_tf.serving.route", arguments)  # it may replace its own
    (tmp_path / "m.json").write_text('{"of": "the scanner"}')
    for more in ([], [f"--json={tmp_path / 'm.nii.gz'}"]):
        with pytest.raises(UserError, match="is not the choice of a router, and would be replaced"):
            commandline.call("semicml_tf.serving.route", [*arguments[:3], *more])
    assert (tmp_path / "m.json").read_text() == '{"of": "the scanner"}'


def test_paths_may_contain_separators(address, tmp_path):
    stored = np.random.default_rng(0).integers(0, 1500, (6, 17, 19)).astype(np.int16)
    study = tmp_path / "name, fore=name"
    dicom_files.write_series(study, stored)
    assert route(tmp_path, address, str(study))[1]["modalities"]["ct"]["input"] == str(study)
