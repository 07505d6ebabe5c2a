"""Monte-Carlo dropout through a real server equals the dropout of the same model in process."""

import nibabel
import numpy as np

from semicml_tf import commandline
from tests.support import threshold_model

MAPS = ("output", "probabilities", "mutual_information")


def test_dropout_over_grpc_equals_dropout_in_process(unet_models, unet_server, tmp_path):
    image = nibabel.Nifti1Image(threshold_model.volume("ct", (40, 33, 5)), threshold_model.oblique())
    nibabel.save(image, tmp_path / "in.nii.gz")

    def segment(command, name, *flags):
        wanted = {what: tmp_path / f"{name}-{what}.nii.gz" for what in MAPS}
        outputs = [f"--{what}={path}" for what, path in wanted.items()]
        commandline.call(command, [f"--input={tmp_path / 'in.nii.gz'}", *outputs, "--mc_dropout=3", *flags])
        return {what: path.read_bytes() for what, path in wanted.items()}, wanted

    remote = [f"--address={unet_server}", "--model=ct", f"--manifest={unet_models / 'ct' / '1'}"]
    far, _ = segment("semicml_tf.serving.client", "far", "--seed=5", *remote)
    other, _ = segment("semicml_tf.serving.client", "other", "--seed=6", *remote)
    near, files = segment("semicml_tf.predict", "near", "--seed=5", f"--model={unet_models / 'ct'}")
    assert far == near and far["probabilities"] != other["probabilities"]
    information = np.asarray(nibabel.load(files["mutual_information"]).dataobj)
    assert information.min() >= 0 and 1e-4 < information.max() <= 1
