"""The client and the router with a real server, on a machine without the exported model."""

import dataclasses
import filecmp
import shutil
import time

import nibabel
import numpy as np
import pytest

import semicml_tf
import serving
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.exporting.publish import publish
from semicml_tf.serving.client.remote_failure import RemoteFailure
from tests.support import dicom_files, threshold_model
from tests.support.serving_process import serving as serve

SHAPE = (20, 18, 40)
AFFINE = threshold_model.oblique()
VOLUMES = {name: threshold_model.volume(name, SHAPE) for name in ("ct", "pet")}


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """A folder of models that a server watches, and its address."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(models, folder, dirs_exist_ok=True)
    options = "--file_system_poll_wait_seconds=0.05", "--max_message_mib=1"
    with serve(folder, tmp_path_factory.mktemp("server"), *options) as (_, address):
        yield folder, address


@pytest.fixture(scope="module")
def address(served):
    return served[1]


@pytest.fixture
def images(tmp_path):
    for name, values in VOLUMES.items():
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / f"{name}.nii.gz")
    return tmp_path


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_the_client_needs_an_address_and_two_paths(models, address, images, modality, monkeypatch):
    monkeypatch.chdir(images)
    commandline.call(
        "semicml_tf.serving.client",
        [f"--address={address}", f"--model={modality}", f"{modality}.nii.gz", "out.nii.gz", "--overlay=over.png"],
    )
    commandline.call(
        "semicml_tf.predict", [f"--model={models / modality}", f"--input={modality}.nii.gz", "--output=here.nii.gz"]
    )
    assert filecmp.cmp("out.nii.gz", "here.nii.gz", shallow=False)
    mask = np.asarray(nibabel.load("out.nii.gz").dataobj)
    np.testing.assert_array_equal(mask, VOLUMES[modality] > threshold_model.LEVELS[modality])
    assert (images / "over.png").stat().st_size > 5000


@pytest.mark.parametrize("more", [("--parallel=7", "--batch_size=3"), ("--parallel=1", "--flips"), ("--batch_size=1",)])
def test_files_equal_those_of_predict_at_the_same_batch_size(models, address, images, more):
    ways = {
        "semicml_tf.serving.client": ["--model=ct", f"--address={address}"],
        "semicml_tf.predict": [f"--model={models / 'ct'}"],
    }
    shared = [flag for flag in more if not flag.startswith("--parallel")]
    for module, how in ways.items():
        files = [f"--output={images / module}.nii.gz", f"--probabilities={images / module}_p.nii.gz"]
        how += more if module == "semicml_tf.serving.client" else shared
        commandline.call(module, [*how, f"--input={images / 'ct.nii.gz'}", *files])
    for end in (".nii.gz", "_p.nii.gz"):
        assert filecmp.cmp(
            images / f"semicml_tf.serving.client{end}", images / f"semicml_tf.predict{end}", shallow=False
        )


def test_a_remote_model_has_the_api_of_a_local_model(models, address):
    here = semicml_tf.load(models / "pet")
    with serving.connect(address, "pet", parallel=3) as there:
        assert there.manifest == here.manifest and there.version == 1
        for batch_size in (16, 7):
            np.testing.assert_array_equal(
                there.probabilities(VOLUMES["pet"], AFFINE, batch_size=batch_size),
                here.probabilities(VOLUMES["pet"], AFFINE, batch_size=batch_size),
            )
        np.testing.assert_array_equal(there.predict(VOLUMES["pet"], AFFINE), here.predict(VOLUMES["pet"], AFFINE))


def refused(arguments, message, module="semicml_tf.serving.client"):
    with pytest.raises(UserError, match=message) as caught:
        commandline.call(module, arguments)
    assert "\n" not in caught.value.line


def test_volumes_of_a_wrong_modality_or_unit_are_refused_with_a_reason(address, images):
    out = str(images / "out.nii.gz")
    shared = [f"--address={address}", f"--output={out}"]
    ct, pet = (f"--input={images / name}.nii.gz" for name in ("ct", "pet"))
    refused([*shared, "--model=ct", pet], "pet.nii.gz: 'ct' has values from 0 to 9.9, none below 0, expected CT in HU")
    refused([*shared, "--model=pet", ct], "ct.nii.gz: 'pet' goes down to -1000, .* looks like CT in HU")
    refused([*shared, "--model=ct", ct, "--modality=pet"], "expected a model for modality 'pet', got one for 'ct'")
    values = VOLUMES["ct"].copy()
    values[3, 4, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), images / "nan.nii.gz")
    refused([*shared, "--model=ct", f"--input={images / 'nan.nii.gz'}"], "nan.nii.gz: .*1 .*NaN or infinite")
    assert not (images / "out.nii.gz").exists()


def test_a_dicom_series_is_assigned_by_its_modality_tag(address, tmp_path):
    stored = np.random.default_rng(0).integers(0, 1500, (6, 17, 19)).astype(np.int16)
    dicom_files.write_series(tmp_path / "series", stored, modality="CT")
    shared = [f"--address={address}", f"--input={tmp_path / 'series'}"]
    commandline.call("semicml_tf.serving.client", [*shared, "--model=ct", f"--output={tmp_path / 'out.nii.gz'}"])
    mask = nibabel.load(tmp_path / "out.nii.gz")
    # (column, row, slice), as the series' volume.
    np.testing.assert_array_equal(
        np.asarray(mask.dataobj), (stored.transpose(2, 1, 0) - 1024 > threshold_model.LEVELS["ct"])
    )
    refused(
        [*shared, "--model=pet", f"--output={tmp_path / 'other.nii.gz'}"],
        "series: expected a DICOM series of 'pet', got ct. ",
    )
    assert not (tmp_path / "other.nii.gz").exists()


def test_a_server_with_a_smaller_limit_names_the_option_to_set(address, images):
    # Its 1 MiB is less than 1024 slices of 16 x 16.
    values = threshold_model.volume("ct", (16, 16, 1100))
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), images / "long.nii.gz")
    shared = ["--model=ct", f"--address={address}", f"--input={images / 'long.nii.gz'}", "--batch_size=2000"]
    shared += [f"--output={images / 'out.nii.gz'}"]
    refused(shared, r"takes messages of at most 1 MiB, got one of 1.07 MiB. Pass --max_message_mib=1,")
    commandline.call("semicml_tf.serving.client", [*shared, "--max_message_mib=1"])
    np.testing.assert_array_equal(np.asarray(nibabel.load(images / "out.nii.gz").dataobj), values > 51.3)


def test_the_router_writes_the_same_file_as_predict(models, address, images, monkeypatch):
    monkeypatch.chdir(images)
    given = "ct=ct.nii.gz,pet=pet.nii.gz"
    commandline.call("semicml_tf.serving.route", [f"--address={address}", given, "out.nii.gz"])
    commandline.call(
        "semicml_tf.predict",
        [f"--model=ct={models / 'ct'},pet={models / 'pet'}", f"--input={given}", "--output=here.nii.gz", "--fuse"],
    )
    assert filecmp.cmp("out.nii.gz", "here.nii.gz", shallow=False)


def wait_for(address, name, number):
    end = time.monotonic() + 30
    while True:
        with serving.connect(address, name) as model:
            if model.version == number:
                return
        assert time.monotonic() < end, f"version {model.version} is served"
        time.sleep(0.05)


def test_after_a_replacement_the_client_uses_the_new_versions_manifest(served, tmp_path):
    """Last, since it changes what is served."""
    folder, address = served
    manifest = dataclasses.replace(threshold_model.manifest("ct"), run_hash="second")
    with serving.connect(address, "ct") as follows, serving.connect(address, "ct", version=1) as stays:
        before = follows.predict(VOLUMES["ct"], AFFINE)
        publish(threshold_model.network("ct"), manifest, folder / "ct")
        wait_for(address, "ct", 2)
        assert (follows.version, follows.manifest.run_hash) == (1, "run-ct")
        # Version 1 is let go once version 2 is there: the volume is asked for again, of that.
        np.testing.assert_array_equal(follows.predict(VOLUMES["ct"], AFFINE), before)
        assert (follows.version, follows.manifest.run_hash) == (2, "second")
        with pytest.raises(RemoteFailure, match="has no model 'ct' version 1"):
            stays.predict(VOLUMES["ct"], AFFINE)
