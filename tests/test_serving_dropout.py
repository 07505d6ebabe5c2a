"""Monte-Carlo dropout through a real server: the draws are those of the same model in process."""

import nibabel
import numpy as np

from semicml_tf import commandline
from semicml_tf.artefact.publish import publish
from semicml_tf.networks.unet import unet
from tests import threshold_model
from tests.serving_process import WINDOW, serving

MAPS = ("output", "probabilities", "mutual_information")


def test_dropout_over_grpc_draws_what_the_model_draws_in_process(tmp_path):
    network = unet(WINDOW, 4, name="ct", levels=2)
    with_dropout = unet(WINDOW, 4, name="ct_with_dropout", dropout_on=network)
    models = tmp_path / "models"
    publish(network, threshold_model.manifest("ct", window=WINDOW), models / "ct", with_dropout=with_dropout)
    image = nibabel.Nifti1Image(threshold_model.volume("ct", (40, 33, 5)), threshold_model.oblique())
    nibabel.save(image, tmp_path / "in.nii.gz")

    def segment(command, name, *flags):
        wanted = {what: tmp_path / f"{name}-{what}.nii.gz" for what in MAPS}
        outputs = [f"--{what}={path}" for what, path in wanted.items()]
        commandline.call(command, [f"--input={tmp_path / 'in.nii.gz'}", *outputs, "--mc_dropout=3", *flags])
        return {what: path.read_bytes() for what, path in wanted.items()}, wanted

    with serving(models, tmp_path) as (_, address):
        remote = [f"--address={address}", "--model=ct", f"--manifest={models / 'ct' / '1'}"]
        far, _ = segment("serving.client", "far", "--seed=5", *remote)
        other, _ = segment("serving.client", "other", "--seed=6", *remote)
    near, files = segment("semicml_tf.predict", "near", "--seed=5", f"--model={models / 'ct'}")
    assert far == near and far["probabilities"] != other["probabilities"]
    information = np.asarray(nibabel.load(files["mutual_information"]).dataobj)
    assert information.min() >= 0 and 1e-4 < information.max() <= 1
