"""A real server process on loopback: status codes, and results equal to in-process results bit for bit."""

import dataclasses
import shutil
import signal
import socket
import subprocess
import sys

import grpc
import nibabel
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

import semicml_tf
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.exporting.publish import publish
from semicml_tf.serving.client.job import read_manifest
from semicml_tf.serving.client.remote_model import RemoteModel
from tests.support import threshold_model
from tests.support.networks import unet
from tests.support.plain_client import plain_client
from tests.support.serving_process import ROOT, UNLIMITED, WINDOW, request, serving


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, modality in enumerate(("ct", "pet")):
        manifest = threshold_model.manifest(modality, window=WINDOW, spacing_mm=(3.0, 2.0, 2.0))
        manifest = dataclasses.replace(manifest, crop="body" if modality == "pet" else "none")
        publish(unet(WINDOW, 4, name=modality, seed=seed, levels=2), manifest, folder / modality, warm_up=())
    # What a server must pass over: a version that is still being copied, and a folder of something else.
    shutil.copytree(folder / "ct" / "1", folder / "ct" / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def address(models, tmp_path_factory):
    with serving(models, tmp_path_factory.mktemp("server"), "--max_message_mib=8") as (_, address):
        yield address


@pytest.fixture(scope="module")
def stubs(address):
    with grpc.insecure_channel(address, options=UNLIMITED) as channel:
        yield (
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


VOLUMES = {"ct": threshold_model.volume("ct", (47, 50, 21)), "pet": threshold_model.volume("pet", (47, 50, 21))}


@pytest.mark.parametrize("modality", ["ct", "pet"])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_served_results_equal_in_process_results_bit_for_bit(models, address, modality, batch_size):
    here = semicml_tf.load(models / modality / "1")
    with RemoteModel(address, modality, read_manifest(models / modality / "1")) as there:
        affine = threshold_model.oblique()
        near = here.probabilities(VOLUMES[modality], affine, batch_size=batch_size)
        far = there.probabilities(VOLUMES[modality], affine, batch_size=batch_size)
        assert np.ptp(near) > 0.01 and far.dtype == np.float32
        np.testing.assert_array_equal(near, far)
        np.testing.assert_array_equal(here.predict(VOLUMES[modality], affine), there.predict(VOLUMES[modality], affine))


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_client_command_writes_the_file_that_predict_writes(models, address, tmp_path, modality):
    image = nibabel.Nifti1Image(VOLUMES[modality], threshold_model.oblique())
    nibabel.save(image, tmp_path / "in.nii.gz")
    shared = [f"--input={tmp_path / 'in.nii.gz'}", f"--modality={modality}"]
    commandline.call(
        "semicml_tf.predict",
        [f"--model={models / modality / '1'}", f"--output={tmp_path / 'a.nii.gz'}", *shared]
        + [f"--probabilities={tmp_path / 'pa.nii.gz'}"],
    )
    commandline.call(
        "semicml_tf.serving.client",
        [f"--model={modality}", f"--address={address}", f"--output={tmp_path / 'b.nii.gz'}", *shared]
        + [f"--manifest={models / modality / '1'}", f"--probabilities={tmp_path / 'pb.nii.gz'}"],
    )
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert (tmp_path / "pa.nii.gz").read_bytes() == (tmp_path / "pb.nii.gz").read_bytes()


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_the_client_of_the_docs_gives_the_packages_mask(models, address, tmp_path, modality):
    model = semicml_tf.load(models / modality / "1")
    values = VOLUMES[modality].copy()
    values[:20] = {"ct": -1000, "pet": 0}[modality]  # air, which the body's box leaves out
    nibabel.save(nibabel.Nifti1Image(values, threshold_model.oblique()), tmp_path / "in.nii.gz")
    plain_client()["segment"](address, modality, str(tmp_path / "in.nii.gz"), str(tmp_path / "mask.nii.gz"))
    found = nibabel.load(tmp_path / "mask.nii.gz")
    expected = model.predict(values, threshold_model.oblique())
    mask = np.asarray(found.dataobj)
    assert 50 < expected.sum() < 0.9 * expected.size and np.allclose(found.affine, threshold_model.oblique(), atol=1e-5)
    # Sums in another order, where the probability is all but the threshold.
    assert 2 * np.sum(mask & expected) / (mask.sum() + expected.sum()) > 0.98


def test_the_response_names_model_version_and_signature(stubs):
    response = stubs[0].Predict(request())
    assert (response.model_spec.name, response.model_spec.version.value) == ("ct", 1)
    assert response.model_spec.signature_name == "probabilities"
    assert list(response.outputs) == ["probabilities"]
    assert len(response.outputs["probabilities"].tensor_content) == 4 * WINDOW * WINDOW
    response = stubs[0].Predict(request(signature=""))
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs) == ["labels"] and len(response.outputs["labels"].tensor_content) == WINDOW * WINDOW
    assert stubs[0].Predict(request(version=1, signature="serving_default")).outputs == response.outputs


def test_messages_above_grpcs_default_of_4_mib_are_accepted(models, address):
    with RemoteModel(address, "ct", read_manifest(models / "ct" / "1")) as model:
        slices = np.zeros((1200, WINDOW, WINDOW, 1), np.float32)
        assert slices.nbytes > 4 << 20
        assert model.slices(slices).shape == slices.shape


INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
SLICE = np.zeros((1, WINDOW, WINDOW, 1), np.float32)


def _broken():
    message = request()
    message.inputs["slices"].tensor_content = b"123"
    return message


def _filtered():
    message = request()
    message.output_filter.append("labels")
    return message


def _labelled():
    message = request()
    message.model_spec.version_label = "stable"
    return message


@pytest.mark.parametrize(
    "message, code",
    [
        (request(name="mr"), MISSING),
        (request(name="notes"), MISSING),
        (request(version=7), MISSING),
        (request(version=2), MISSING),  # half copied
        (request(signature="unknown"), grpc.StatusCode.FAILED_PRECONDITION),
        (predict_pb2.PredictRequest(), INVALID),
        (request(inputs={"pixels": SLICE}), INVALID),
        (request(inputs={"slices": SLICE, "more": SLICE}), INVALID),
        (request(SLICE.astype(np.float64)), INVALID),
        (request(SLICE[0]), INVALID),
        (request(np.zeros((1, WINDOW, WINDOW + 1, 1), np.float32)), INVALID),
        (_broken(), INVALID),
        (_filtered(), INVALID),
        (_labelled(), INVALID),
        (request(np.zeros((2500, WINDOW, WINDOW, 1), np.float32)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=lambda value: value.name if isinstance(value, grpc.StatusCode) else "",
)
def test_status_codes(stubs, message, code):
    with pytest.raises(grpc.RpcError) as caught:
        stubs[0].Predict(message)
    assert caught.value.code() == code, caught.value.details()
    assert stubs[0].Predict(request()).outputs, "the server must live on"


def test_other_calls_are_unimplemented(stubs):
    from tensorflow_serving.apis import classification_pb2

    with pytest.raises(grpc.RpcError) as caught:
        stubs[0].Classify(classification_pb2.ClassificationRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_declares_the_signature(stubs):
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "pet"
    response = stubs[0].GetModelMetadata(message)
    assert (response.model_spec.name, response.model_spec.version.value) == ("pet", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "probabilities", "raw", "serialized", "manifest"}
    declared = signatures.signature_def["probabilities"].inputs["slices"]
    assert [dimension.size for dimension in declared.tensor_shape.dim] == [-1, WINDOW, WINDOW, 1]
    for fields in ([], ["weights"]):
        message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        message.model_spec.name = "pet"
        with pytest.raises(grpc.RpcError) as caught:
            stubs[0].GetModelMetadata(message)
        assert caught.value.code() == INVALID


def test_model_status(stubs):
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "ct"
    (status,) = stubs[1].GetModelStatus(message).model_version_status
    assert status.version == 1 and status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    message.model_spec.name = "mr"
    with pytest.raises(grpc.RpcError) as caught:
        stubs[1].GetModelStatus(message)
    assert caught.value.code() == MISSING


def client_arguments(tmp_path, models, address, *more, model="ct", manifest="ct"):
    nibabel.save(nibabel.Nifti1Image(VOLUMES["ct"], threshold_model.oblique()), tmp_path / "in.nii.gz")
    return [
        *(f"--address={address}", f"--model={model}", f"--manifest={models / manifest / '1'}"),
        *(f"--input={tmp_path / 'in.nii.gz'}", f"--output={tmp_path / 'out.nii.gz'}", *more),
    ]


def test_mistakes_of_clients_are_reported_in_one_line(models, address, tmp_path):
    def refused(message, arguments):
        with pytest.raises(UserError, match=message) as caught:
            commandline.call("semicml_tf.serving.client", arguments)
        assert "\n" not in caught.value.line
        assert not (tmp_path / "out.nii.gz").exists()

    refused("has no model 'mr'", client_arguments(tmp_path, models, address, "--modality=ct", model="mr"))
    refused("has no model 'ct' version 7", client_arguments(tmp_path, models, address, "--model_version=7"))
    refused("'ct', got one for 'pet'", client_arguments(tmp_path, models, address, "--modality=ct", manifest="pet"))
    refused("the model 'ct' is one of modality 'pet'", client_arguments(tmp_path, models, address, manifest="pet"))
    of_pet = client_arguments(tmp_path, models, address, "--modality=pet", manifest="pet")
    refused("looks like CT in HU", of_pet)
    refused(
        "mr/1: expected the folder of an exported model", client_arguments(tmp_path, models, address, manifest="mr")
    )
    refused("no answer in", client_arguments(tmp_path, models, address, "--deadline_s=0.001", "--retries=0"))


def test_the_client_accepts_a_studys_flagfile(models, address, tmp_path):
    (tmp_path / "study.flags").write_text(f"--modalities=ct,pet\n--run={tmp_path}\n--batch_size=4\n")
    arguments = client_arguments(tmp_path, models, address)
    commandline.call("semicml_tf.serving.client", [f"--flagfile={tmp_path / 'study.flags'}", *arguments])
    assert (tmp_path / "out.nii.gz").exists()


def test_the_manifest_is_read_from_the_models_folder(models, tmp_path):
    for path in (models / "pet", models / "pet" / "1", models / "pet" / "1" / "assets.extra" / "manifest.json"):
        assert read_manifest(path).modality == "pet"
    assert read_manifest(models / "ct", version=1).modality == "ct"


def test_a_terminated_server_ends_cleanly_and_a_killed_server_is_reported_in_one_line(models, tmp_path):
    with serving(models, tmp_path) as (process, address):
        with pytest.raises(UserError, match="cannot listen on"):  # before it looks for models
            commandline.call("semicml_tf.serving.server", ["--models=none", f"--port={address.split(':')[1]}"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert (tmp_path / "server.log").read_text().splitlines()[-1] == "stopped"
    with pytest.raises(UserError, match=f"the server at {address} cannot be reached") as caught:
        commandline.call("semicml_tf.serving.client", client_arguments(tmp_path, models, address, "--retries=1"))
    assert "\n" not in caught.value.line
    assert not (tmp_path / "out.nii.gz").exists()


def test_the_server_listens_only_on_loopback(address):
    port = int(address.split(":")[1])
    with socket.socket() as probe:
        # Were the server on every address, this one of the loopback net would answer, too.
        assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_missing_models_are_reported_in_one_line(tmp_path):
    for folder, message in ((tmp_path / "nowhere", "there is none"), (tmp_path, "expected exported models")):
        with pytest.raises(UserError, match=message):
            commandline.call("semicml_tf.serving.server", [f"--models={folder}", "--port=0"])


def test_serving_never_imports_training():
    code = (
        "import sys, semicml_tf.serving.client.command, semicml_tf.serving.server.command, semicml_tf.predict\n"
        "from semicml_tf.serving.server import model_store, prediction_service\n"
        "from semicml_tf.serving.client import remote_model\n"
        "import semicml_tf.serving.tensors, semicml_tf.files.nifti.reader\n"
        "import semicml_tf.inference.exported_model\n"
        "names = {name for name in sys.modules if name.startswith('semicml_tf.')}\n"
        # The manifest holds a network's specification, which is data alone.
        "names -= {'semicml_tf.networks', 'semicml_tf.networks.spec'}\n"
        "rooms = {name.split('.')[1] for name in names}\n"
        "banned = {'training', 'methods', 'losses', 'networks', 'input', 'evaluation', 'conversion', 'phantom'}\n"
        "assert 'inference' in rooms and not rooms & banned, rooms & banned"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
