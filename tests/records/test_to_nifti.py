"""From NIfTI to records and back with `semicml_tf.inspect`."""

import nibabel
import numpy as np
import pytest

from semicml_tf.files.nifti import reader
from semicml_tf.geometry.resample import resample
from tests.records.test_inspect_command import NORMALISATION, inspect
from tests.support import image_folders
from tests.support.conversions import convert, hecktor


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    root = tmp_path_factory.mktemp("converted")
    return hecktor(root / "source"), convert(root / "source", root / "data")


@pytest.mark.parametrize("name", ["P1", "P2"])
def test_from_nifti_to_records_and_back(converted, tmp_path, name):
    source, data = converted
    inspect(data, f"--case={name}", f"--output={tmp_path}")
    for modality, file in (("ct", "CT"), ("pet", "PT")):
        values, grid = reader.read_volume(tmp_path / f"{name}_{modality}.nii.gz")
        volume, native = reader.read_volume(source / f"imagesTr/{name}__{file}.nii.gz")
        how = NORMALISATION[modality]
        expected = np.clip(resample(volume, native, grid), how.low, how.high)
        # The record has values in [-1, 1] as float16. Steps below 1 are at most 2^-11; rounding errs by half a step.
        step = 2.0**-11 * (how.high - how.low) / 2
        np.testing.assert_allclose(values, expected, atol=step / 2 * 1.01)
        assert np.ptp(values) > 100 * step and grid.spacing_mm == pytest.approx((3, 4, 4))
        assert values.min() >= how.low and values.max() <= how.high
    label = tmp_path / f"{name}_native_label.nii.gz"
    assert label.exists() == (name == "P1")  # P2 is unlabelled
    if name == "P1":
        drawn, original = nibabel.load(label), nibabel.load(source / "labelsTr/P1.nii.gz")
        np.testing.assert_array_equal(np.asarray(drawn.dataobj), image_folders.label())
        np.testing.assert_array_equal(drawn.affine, original.affine)
        assert drawn.header["sform_code"] == 1 and drawn.header.get_xyzt_units()[0] == "mm"
        # Both labels have the same centre of mass, in millimetres.
        on_grid = nibabel.load(tmp_path / "P1_label.nii.gz")
        centres = [
            (np.c_[np.argwhere(image.dataobj), np.ones(np.count_nonzero(image.dataobj))] @ image.affine.T).mean(axis=0)
            for image in (drawn, on_grid)
        ]
        np.testing.assert_allclose(*centres, atol=1.0)


def test_a_converted_dataset_is_sound(converted, capsys):
    inspect(converted[1])
    assert "every checksum, hash and feature is as it was written" in capsys.readouterr().out
