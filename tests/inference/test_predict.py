"""`python -m semicml_tf.predict`: a NIfTI file in, a mask in place over it out."""

import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.inference import job
from tests.support import threshold_model

COMMAND = "semicml_tf.predict"


def save(path, values, affine, *, sform=2, qform=1, image_class=nibabel.Nifti1Image, dtype=np.int16):
    image = image_class(np.asarray(values, dtype), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine if sform else None, sform)
    image.set_qform(affine if qform else None, qform)
    image.header["descrip"] = b"of the image"
    nibabel.save(image, path)
    return path


def predict(models, source, output, *more, model="ct"):
    commandline.call(COMMAND, [f"--model={models / model}", f"--input={source}", f"--output={output}", *more])
    return nibabel.load(output)


FLIPPED = np.array([[-2.0, 0, 0, 31], [0, 0, 3.0, -4], [0, -2.5, 0, 9], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "affine, codes",
    [
        (threshold_model.oblique(), {"sform": 2, "qform": 1}),
        (threshold_model.oblique(), {"sform": 0, "qform": 1}),
        (threshold_model.oblique(), {"sform": 4, "qform": 0}),
        (FLIPPED, {"sform": 1, "qform": 1}),
        (FLIPPED, {"sform": 0, "qform": 2}),
        (np.diag([-2.0, -2.0, 3.0, 1.0]), {"sform": 3, "qform": 3}),
    ],
)
def test_mask_lies_on_the_inputs_own_grid(models, tmp_path, affine, codes):
    values = threshold_model.volume("ct")
    source = save(tmp_path / "in.nii.gz", values, affine, **codes)
    mask = predict(models, source, tmp_path / "out.nii.gz", "--modality=ct")
    before = nibabel.load(source)
    assert mask.shape == before.shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, before.affine)
    for field in ("sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "srow_x", "srow_y"):
        np.testing.assert_array_equal(mask.header[field], before.header[field], err_msg=field)
    np.testing.assert_array_equal(mask.header["pixdim"][:4], before.header["pixdim"][:4])
    assert mask.header.get_xyzt_units() == before.header.get_xyzt_units()
    assert bytes(mask.header["descrip"]).strip(b"\0") == b""
    np.testing.assert_array_equal(np.asarray(mask.dataobj), values > threshold_model.LEVELS["ct"])


def test_scaled_integers_nifti2_and_other_names_are_read(models, tmp_path):
    values = threshold_model.volume("pet")
    image = nibabel.Nifti2Image(values, threshold_model.oblique())
    image.set_data_dtype(np.int16)  # nibabel then stores a slope
    nibabel.save(image, tmp_path / "in.nii")
    assert nibabel.load(tmp_path / "in.nii").dataobj.slope != 1
    (tmp_path / "in.nii").rename(tmp_path / "volume")
    mask = predict(models, tmp_path / "volume", tmp_path / "out.nii", model="pet")
    assert isinstance(mask, nibabel.Nifti2Image) and mask.dataobj.slope == 1
    np.testing.assert_array_equal(np.asarray(mask.dataobj), values > threshold_model.LEVELS["pet"])


def test_probabilities_and_equal_bytes(models, tmp_path):
    source = save(tmp_path / "in.nii.gz", threshold_model.volume("ct"), threshold_model.oblique())
    soft = tmp_path / "soft.nii.gz"
    mask = predict(models, source, tmp_path / "a.nii.gz", f"--probabilities={soft}", "--batch_size=3")
    written = nibabel.load(soft)
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(written.affine, mask.affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj) >= 0.5, np.asarray(mask.dataobj))
    predict(models, source, tmp_path / "b.nii.gz", "--batch_size=3")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nothing_of_the_patients_header_is_copied(models, tmp_path):
    image = nibabel.Nifti1Image(threshold_model.volume("ct").astype(np.int16), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"patient's name"))
    nibabel.save(image, tmp_path / "in.nii")
    assert b"patient's name" in (tmp_path / "in.nii").read_bytes()
    mask = predict(models, tmp_path / "in.nii", tmp_path / "out.nii")
    assert b"patient's name" not in (tmp_path / "out.nii").read_bytes()
    np.testing.assert_array_equal(np.asarray(mask.dataobj), threshold_model.volume("ct") > threshold_model.LEVELS["ct"])


def refused(tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as caught:
        commandline.call(COMMAND, arguments)
    assert "\n" not in caught.value.line
    assert sorted(tmp_path.rglob("*")) == before, "a refused prediction left files"
    return caught.value.line


def test_wrong_modality_and_units_are_one_line_unless_accepted(models, tmp_path, capsys):
    ct = save(tmp_path / "ct.nii.gz", threshold_model.volume("ct"), np.eye(4))
    pet = save(tmp_path / "pet.nii.gz", threshold_model.volume("pet"), np.eye(4), dtype=np.float32)
    out = f"--output={tmp_path / 'out.nii.gz'}"
    refused(tmp_path, [f"--model={models / 'pet'}", f"--input={ct}", out, "--modality=ct"], "'ct', got one for 'pet'")
    assert str(ct) in refused(tmp_path, [f"--model={models / 'pet'}", f"--input={ct}", out], "it looks like CT in HU")
    assert str(pet) in refused(tmp_path, [f"--model={models / 'ct'}", f"--input={pet}", out], "expected CT in HU")
    commandline.call("semicml_tf.predict", [f"--model={models / 'ct'}", f"--input={pet}", out, "--accept=ct_no_hu"])
    assert "warning: ct_no_hu: 'ct' has values from 0" in capsys.readouterr().err
    with pytest.raises(UserError, match="expected --accept=CODE,... of .*, got 'no_code'"):
        commandline.call("semicml_tf.predict", [f"--model={models / 'ct'}", f"--input={pet}", out, "--accept=no_code"])


def test_other_mistakes_are_one_line(models, tmp_path, monkeypatch):
    ct = save(tmp_path / "ct.nii.gz", threshold_model.volume("ct"), np.eye(4))
    model, out = f"--model={models / 'ct'}", f"--output={tmp_path / 'out.nii.gz'}"
    refused(tmp_path, [model, out], "expected --input")
    refused(tmp_path, [model, f"--input={tmp_path / 'no.nii.gz'}", out], "no.nii.gz: there is no such file")
    refused(tmp_path, [model, f"--input={ct}", f"--output={tmp_path / 'out.png'}"], "ends in .nii")
    refused(tmp_path, [model, f"--input={ct}", f"--output={ct}"], "would replace the input")
    refused(tmp_path, [model, f"--input={ct}", out, f"--probabilities={tmp_path / 'out.nii.gz'}"], "one file")
    refused(tmp_path, [model, f"--input={ct}", f"--output={ct / 'sub' / 'out.nii.gz'}"], "cannot write here")
    refused(tmp_path, [f"--model={models}", f"--input={ct}", out], "several: ct, pet")
    for where in (out, f"--output={tmp_path / 'masks'}"):
        with monkeypatch.context() as patched:
            patched.setattr(os, "access", lambda place, mode: False)
            patched.setattr(job, "load", None)  # found before a model is loaded
            refused(tmp_path, [model, f"--input={ct}", where], "cannot write here .Permission denied")
    (tmp_path / "cut.nii.gz").write_bytes(ct.read_bytes()[:-200])
    refused(tmp_path, [model, f"--input={tmp_path / 'cut.nii.gz'}", out], "truncated")


def test_help_needs_no_tensorflow():
    code = (
        "import sys; from semicml_tf import commandline\n"
        "served = ['semicml_tf.serving.client', 'semicml_tf.serving.route', 'semicml_tf.serving.server']\n"
        "for name in ('semicml_tf.predict', 'semicml_tf.export', *served):\n"
        "    assert '--' in commandline.help_text(name)\n"
        "assert not {'tensorflow', 'keras', 'grpc'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
