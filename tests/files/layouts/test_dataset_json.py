"""Medical Segmentation Decathlon and nnU-Net: channels by name, wherever they are kept."""

import json

import nibabel
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, decathlon, nnunet
from semicml_tf.files.layouts.modality_names import canonical
from semicml_tf.files.source import NiftiFile
from tests.support import image_folders
from tests.support.layout_folders import check_present, images, touch

MODALITY = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}


def describe(root, **body):
    (root / "dataset.json").write_text(json.dumps(body))
    return root


def test_a_decathlon_task(tmp_path):
    describe(tmp_path, modality=MODALITY)
    touch(tmp_path / "imagesTr/BRATS_002.nii.gz", tmp_path / "imagesTr/BRATS_001.nii.gz")
    touch(tmp_path / "labelsTr/BRATS_001.nii.gz", tmp_path / "labelsTr/BRATS_002.nii.gz")
    touch(tmp_path / "imagesTs/BRATS_485.nii.gz", tmp_path / "imagesTr/._BRATS_001.nii.gz")
    assert catalogue.choose("auto", tmp_path) is decathlon
    cases = decathlon.find(tmp_path, ["t2", "t1ce"])
    assert [case.case_id for case in cases] == ["BRATS_001", "BRATS_002", "BRATS_485"]
    image = tmp_path / "imagesTr/BRATS_001.nii.gz"
    assert cases[0].images == {"t2": NiftiFile(image, 3), "t1ce": NiftiFile(image, 2)}
    assert cases[0].label == NiftiFile(tmp_path / "labelsTr/BRATS_001.nii.gz") and cases[2].label is None
    assert decathlon.describe(tmp_path) == (
        "Medical Segmentation Decathlon: 3 cases; flair 3, t1 3, t1ce 3, t2 3; labels 2"
    )
    (tmp_path / "labelsTr/BRATS_001.nii.gz").unlink()
    with pytest.raises(UserError, match="BRATS_001.nii.gz: case BRATS_001 lacks its label"):
        check_present(decathlon.find(tmp_path, ["t2"])[0], with_label=True)
    with pytest.raises(UserError, match="has the modalities flair, t1, t1ce, t2, got 'ct'"):
        decathlon.find(tmp_path, ["ct"])
    touch(tmp_path / "imagesTs/BRATS_001.nii.gz")
    with pytest.raises(UserError, match="case BRATS_001 is there twice"):
        decathlon.find(tmp_path, ["t2"])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_single_channel_is_read(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 900, (*image_folders.SHAPE, 4)).astype(dtype)
    path = image_folders.write(tmp_path / "a.nii.gz", array)
    sources = [NiftiFile(path, channel) for channel in range(4)]
    for channel, source in enumerate(sources):
        volume, grid = source.read_volume()
        np.testing.assert_array_equal(volume, array[..., channel])
        assert grid.shape == image_folders.SHAPE and source.read_grid().is_close(grid)
        np.testing.assert_array_equal(source.read_label()[0], array[..., channel])
    assert len({source.digest() for source in [*sources, NiftiFile(path)]}) == 5
    with pytest.raises(UserError, match=r"a channel 4, got shape \(10, 12, 6, 4\)"):
        NiftiFile(path, 4).read_volume()
    with pytest.raises(UserError, match="expected a 3-D volume, got 4-D"):
        NiftiFile(path).read_volume()
    # The checksum of the whole file counts, even if the requested channel is intact.
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="truncated"):
        sources[0].read_volume()


def test_a_task_with_one_modality_has_3d_images(tmp_path):
    describe(tmp_path, modality={"0": "CT"})
    image_folders.write(tmp_path / "imagesTr/lung_001.nii.gz", image_folders.ct())
    (case,) = decathlon.find(tmp_path, ["ct"])
    np.testing.assert_array_equal(case.images["ct"].read_volume()[0], image_folders.ct())
    nibabel.save(nibabel.load(tmp_path / "imagesTr/lung_001.nii.gz").slicer[:5], tmp_path / "imagesTr/lung_002.nii.gz")
    assert [case.images["ct"].read_grid().shape[0] for case in decathlon.find(tmp_path, ["ct"])] == [10, 5]


@pytest.mark.parametrize("key", ["channel_names", "modality"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_nnunet(tmp_path, key, ending):
    describe(tmp_path, **{key: {"0": "CT", "1": "PET"}, "file_ending": ending})
    touch(*(tmp_path / f"imagesTr/{case}_000{channel}{ending}" for case in ("la_02", "la_01") for channel in (0, 1)))
    touch(tmp_path / f"labelsTr/la_01{ending}", tmp_path / f"imagesTs/la_03_0000{ending}")
    assert catalogue.choose("auto", tmp_path) is nnunet
    first, second, third = nnunet.find(tmp_path, ["pet", "ct"])
    assert [case.case_id for case in (first, second, third)] == ["la_01", "la_02", "la_03"]
    assert images(first) == {
        "pet": tmp_path / f"imagesTr/la_01_0001{ending}",
        "ct": tmp_path / f"imagesTr/la_01_0000{ending}",
    }
    assert first.label == NiftiFile(tmp_path / f"labelsTr/la_01{ending}") and third.label is None
    with pytest.raises(UserError, match="labelsTr/la_02.nii.*lacks its label"):
        check_present(second, with_label=True)
    with pytest.raises(UserError, match="la_03_0001.*lacks the modality 'pet'"):
        check_present(third, with_label=False)
    version = 2 if key == "channel_names" else 1
    assert nnunet.describe(tmp_path) == f"nnU-Net v{version}: 3 cases; ct 3, pet 2 (1 missing); labels 1"


def test_nnunet_that_lists_its_files(tmp_path):
    listed = {"A": {"images": ["far/a ct.nii.gz", "/abs/a.nii.gz"], "label": "far/l.nii.gz"}}
    describe(tmp_path, channel_names={"0": "CT", "1": "PT"}, file_ending=".nii.gz", dataset=listed)
    assert catalogue.choose("auto", tmp_path) is nnunet
    (case,) = nnunet.find(tmp_path, ["ct", "pet"])
    assert str(case.images["pet"].path) == "/abs/a.nii.gz" and case.images["ct"].path == tmp_path / "far/a ct.nii.gz"
    assert case.label.path == tmp_path / "far/l.nii.gz"
    describe(tmp_path, channel_names={"0": "CT", "1": "PT"}, dataset={"A": {"images": ["one.nii.gz"]}})
    with pytest.raises(UserError, match="expected for case A .*one path per channel"):
        nnunet.find(tmp_path, ["pet"])


def test_four_digits_are_a_channel_only_where_labels_lack_them(tmp_path):
    describe(tmp_path, modality={"0": "CT"})
    touch(tmp_path / "imagesTr/case_0001.nii.gz", tmp_path / "labelsTr/case_0001.nii.gz")
    assert catalogue.choose("auto", tmp_path) is decathlon
    (tmp_path / "labelsTr/case_0001.nii.gz").rename(tmp_path / "labelsTr/case.nii.gz")
    assert catalogue.choose("auto", tmp_path) is nnunet


@pytest.mark.parametrize(
    "body,message",
    [
        ({"channel_names": {"0": "CT"}, "file_ending": ".png"}, "expected a data set of NIfTI files, got .*'.png'"),
        ({"channel_names": {"0": "T1Gd", "1": "T1ce"}}, "two channels are called 't1ce'"),
        ({"channel_names": {"CT": "0"}}, "with names by number"),
        ({"channel_names": ["CT"]}, r'channel_names: expected .*, got \["CT"\].*For example "channel_names"'),
        ({"channel_names": {"0": "CT", "00": "PET"}}, "with names by number"),
        ({"channel_names": {"0": "CT"}, "dataset": {"a": {"images": []}}}, r"dataset.a.images: .* at least 1 item"),
        ({}, "with names by number"),
    ],
)
def test_unusable_descriptions(tmp_path, body, message):
    describe(tmp_path, **body)
    with pytest.raises(UserError, match=message) as caught:
        nnunet.find(tmp_path, ["ct"])
    assert "dataset.json" in caught.value.line


def test_a_description_that_is_no_json_has_no_layout(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    touch(tmp_path / "imagesTr/A_0000.nii.gz")
    with pytest.raises(UserError, match="names as in nnU-Net, but no dataset.json names the channels"):
        catalogue.choose("auto", tmp_path)
    with pytest.raises(UserError, match="dataset.json"):
        nnunet.find(tmp_path, ["ct"])


@pytest.mark.parametrize(
    "given,ours",
    [
        ("CT", "ct"),
        ("PET", "pet"),
        ("PT", "pet"),
        ("T1w", "t1"),
        ("T1-Gd", "t1ce"),
        ("T1CE", "t1ce"),
        ("T2-FLAIR", "flair"),
        ("t2f", "flair"),
        ("ADC", "adc"),
        ("b 1000", "b_1000"),
    ],
)
def test_names_of_modalities(given, ours):
    assert canonical(given) == ours
