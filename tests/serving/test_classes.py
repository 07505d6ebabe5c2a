"""Served models of several classes give what they give in this process; other channels are refused."""

import dataclasses
import json

import nibabel
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.artefact.manifest import INPUT_NAME, OUTPUT_NAME
from semicml_tf.errors import UserError
from semicml_tf.inference.exported_model import load
from semicml_tf.serving.client.remote_failure import RemoteFailure
from semicml_tf.serving.client.remote_model import RemoteModel
from tests.support import class_models, threshold_model
from tests.support.class_models import EXCLUSIVE, REGIONS
from tests.support.fake_prediction_server import Fake
from tests.support.fake_prediction_server import serving as serve
from tests.support.serving_process import require_conformance, serving_here

AFFINE = threshold_model.oblique()
CT = class_models.volume((20, 18, 5))
KINDS = {"sigmoid": REGIONS, "softmax": EXCLUSIVE}


@pytest.fixture(scope="module", params=KINDS)
def served(request, models_of_classes):
    """Activation, and the address of a server of that model."""
    with serving_here(models_of_classes[request.param]) as address:
        yield request.param, address


def test_over_grpc_as_in_this_process(served, models_of_classes, tmp_path):
    activation, address = served
    model = load(models_of_classes[activation] / "ct")
    # A message holds two slices: the probabilities of a batch come in several.
    room = (2 * 4 * model.manifest.classes * 16**2 + 4200) / 2**20
    with RemoteModel(address, "ct", max_message_mib=room) as remote:
        assert remote.slices_a_message == 2 and remote.manifest == model.manifest
        found = remote.probabilities(CT, AFFINE, batch_size=5)
        np.testing.assert_allclose(found, model.probabilities(CT, AFFINE), atol=1e-5)
        np.testing.assert_array_equal(remote.predict(CT, AFFINE), class_models.expected(KINDS[activation], CT))
    nibabel.save(nibabel.Nifti1Image(CT, AFFINE), tmp_path / "in.nii.gz")
    flags = [f"--address={address}", "--model=ct", str(tmp_path / "in.nii.gz")]
    commandline.call("semicml_tf.serving.client", [*flags, str(tmp_path / "far.nii.gz")])
    near = [f"--model={model.folder}", str(tmp_path / "in.nii.gz"), str(tmp_path / "near.nii.gz")]
    commandline.call("semicml_tf.predict", near)
    files = {path.name.removeprefix("near"): path for path in tmp_path.glob("near*")}
    assert len(files) == 2
    for ending, path in files.items():
        assert (tmp_path / f"far{ending}").read_bytes() == path.read_bytes()


def test_conformance(served, models_of_classes, tmp_path):
    activation, address = served
    require_conformance(address, models_of_classes[activation], tmp_path / "found.json", skipped=1)


MODALITIES = ("ct", "mr1", "mr2", "mr3")


class ClassesFake(Fake):
    """Models of the same classes, one per modality, that all read HU."""

    def __init__(self, labels):
        super().__init__()
        manifest = class_models.manifest(labels)
        self.versions = {name: {1: dataclasses.replace(manifest, modality=name)} for name in MODALITIES}
        self.answer = class_models.predict(labels)

    def _probabilities(self, manifest, request):
        return OUTPUT_NAME, self.answer(tf.make_ndarray(request.inputs[INPUT_NAME]))


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("used", [(0,), (2,), (1, 3), (0, 1, 2, 3)])
def test_any_subset_of_four_modalities_is_fused_by_class(labels, used, tmp_path):
    names = [MODALITIES[number] for number in used]
    volumes = {name: class_models.volume((20, 18, 5), seed=number) for number, name in enumerate(names)}
    for name, values in volumes.items():
        nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / f"{name}.nii.gz")
    given = ",".join(f"{name}={tmp_path / name}.nii.gz" for name in names)
    with serve(ClassesFake(labels)) as address:
        flags = [f"--address={address}", given, str(tmp_path / "m.nii.gz"), f"--probabilities={tmp_path / 'p.nii.gz'}"]
        commandline.call("semicml_tf.serving.route", flags)
    told = json.loads((tmp_path / "m.json").read_text())
    assert told["used"] == names and set(told["mask"]["voxels"]) == set(labels.names)
    expected = [class_models.expected(labels, values) for values in volumes.values()]
    for number, name in enumerate(labels.names):
        each = [one == number + 1 if labels.exclusive else one[number] for one in expected]
        p = np.asarray(nibabel.load(tmp_path / f"p_{name}.nii.gz").dataobj)
        np.testing.assert_allclose(p, np.mean(each, axis=0), atol=1e-5)
        if not labels.exclusive:
            mask = np.asarray(nibabel.load(tmp_path / f"m_{name}.nii.gz").dataobj)
            np.testing.assert_array_equal(mask, np.mean(each, axis=0) >= (0.3, 0.6)[number])


def test_models_of_other_classes_are_not_routed_together(tmp_path):
    nibabel.save(nibabel.Nifti1Image(CT, AFFINE), tmp_path / "in.nii.gz")
    fake = ClassesFake(REGIONS)
    fake.versions["mr1"] = {1: class_models.manifest(EXCLUSIVE, modality="ct")}
    fake.versions["mr1"] = {1: dataclasses.replace(fake.versions["mr1"][1], modality="mr1")}
    given = f"ct={tmp_path / 'in.nii.gz'},mr1={tmp_path / 'in.nii.gz'}"
    with serve(fake) as address, pytest.raises(UserError, match="of 'ct' and fat:3.* of 'mr1'") as caught:
        commandline.call("semicml_tf.serving.route", [f"--address={address}", given, str(tmp_path / "m.nii.gz")])
    assert "\n" not in caught.value.line and not (tmp_path / "m.json").exists()


def test_an_answer_with_other_channels_is_one_line():
    fake = ClassesFake(REGIONS)
    fake.answer = class_models.predict(EXCLUSIVE)
    with serve(fake) as address, RemoteModel(address, "ct", retries=0) as model:
        with pytest.raises(RemoteFailure, match=r"expected shape \[\d+, 16, 16, 2\], got \[\d+, 16, 16, 3\]"):
            model.predict(CT, AFFINE)
