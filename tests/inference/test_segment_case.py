"""Several modalities' probabilities as one: closed forms, and the files that predict --fuse writes."""

import json

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.inference.segment_case import Fusion
from tests.support import threshold_model


def test_the_mean_counts_each_image_where_it_is():
    first, second, third = (np.full((2, 3, 4), p, np.float32) for p in (0.25, 0.75, 1.0))
    here, there = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    here[0], there[:, 0] = True, True
    second[~here] = np.nan  # beyond an image nothing counts
    fusion = Fusion(first, 0.2)
    fusion.add(second, here, 0.4)
    fusion.add(third, there, 0.9)
    found, cut = fusion.probabilities(), fusion.threshold()
    assert found.dtype == np.float32 and (first == 0.25).all(), "the first map stays as it is"
    for place, p, least in (
        ((1, 1), 0.25, 0.2),
        ((0, 1), 0.5, 0.3),
        ((1, 0), 0.625, 0.55),
        ((0, 0), 2.0 / 3, 0.5),
    ):
        np.testing.assert_allclose(found[place], p, rtol=1e-6)
        np.testing.assert_allclose(cut[place], least, rtol=1e-6)


def test_equal_thresholds_stay_one_number():
    fusion = Fusion(np.zeros((1, 2, 2), np.float32), 0.3)
    fusion.add(np.ones((1, 2, 2), np.float32), np.ones((1, 2, 2), bool), 0.3)
    assert fusion.threshold() == 0.3
    np.testing.assert_array_equal(fusion.probabilities(), 0.5)


def test_predict_fuses_on_the_first_ones_grid_where_the_other_reaches(models, tmp_path):
    shape, affine = (12, 14, 10), threshold_model.oblique()
    # One sure network is enough: the mean of 1 and 0 reaches the threshold.
    ct, pet = threshold_model.clear_volume("ct", shape), threshold_model.clear_volume("pet", shape, seed=1)
    nibabel.save(nibabel.Nifti1Image(ct, affine), tmp_path / "ct.nii.gz")
    # The PET ends after six slices.
    nibabel.save(nibabel.Nifti1Image(pet[:, :, :6], affine), tmp_path / "pet.nii.gz")
    arguments = [
        f"--model=ct={models / 'ct'},pet={models / 'pet'}",
        f"--input=ct={tmp_path / 'ct.nii.gz'},pet={tmp_path / 'pet.nii.gz'}",
        f"--output={tmp_path / 'mask.nii.gz'}",
    ]
    commandline.call("semicml_tf.predict", [*arguments, "--fuse", f"--overlay={tmp_path / 'over.png'}"])
    of_ct, of_pet = ct > threshold_model.LEVELS["ct"], pet > threshold_model.LEVELS["pet"]
    expected = np.concatenate([(of_ct | of_pet)[:, :, :6], of_ct[:, :, 6:]], axis=2)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)
    np.testing.assert_array_equal(mask.affine, nibabel.load(tmp_path / "ct.nii.gz").affine)
    assert (tmp_path / "over.png").read_bytes().startswith(b"\x89PNG")
    # Of a folder, the record says that the masks were fused, and refuses to mix them with others.
    (tmp_path / "pet.nii.gz").rename(tmp_path / "one_pet.nii.gz")
    (tmp_path / "ct.nii.gz").rename(tmp_path / "one_ct.nii.gz")
    folder = [arguments[0], f"--input=ct={tmp_path},pet={tmp_path}", f"--output={tmp_path / 'masks'}"]
    (tmp_path / "mask.nii.gz").rename(tmp_path / "mask")
    commandline.call("semicml_tf.predict", [*folder, "--fuse"])
    assert (tmp_path / "masks" / "one.nii.gz").read_bytes() == (tmp_path / "mask").read_bytes()
    assert json.loads((tmp_path / "masks" / "predictions.json").read_text())["settings"]["fuse"] is True
    for wrong, message in (
        (folder, "other models or settings"),
        ([*folder, "--overlay=over.png"], "for one input"),
        ([*arguments, "--fuse", "--mutual_information=mi.nii.gz", "--mc_dropout=2"], "the passes of one modality"),
        (
            [f"--model={models / 'ct'}", f"--input={tmp_path / 'one_ct.nii.gz'}", arguments[2], "--fuse"],
            "several modalities",
        ),
        ([*arguments, "--overlay=over.jpg"], "ends in .png"),
    ):
        with pytest.raises(UserError, match=message):
            commandline.call("semicml_tf.predict", wrong)
