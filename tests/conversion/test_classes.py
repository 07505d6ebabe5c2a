"""Label values, regions and classes of one label map, through the command."""

import numpy as np
import pytest

from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo
from tests.conversion.test_command import records, refused
from tests.support import image_folders
from tests.support.conversions import convert, write_split


def test_brats_whole_tumour(tmp_path):
    root = tmp_path / "source"
    segmentation = np.zeros(image_folders.SHAPE, np.uint8)
    segmentation[2:4, 3:6, 2], segmentation[4:6, 3:6, 2], segmentation[6:8, 3:6, 2] = 1, 2, 4
    for name, array in (("t2", image_folders.pet(1)), ("t1ce", image_folders.pet(2)), ("seg", segmentation)):
        image_folders.write(root / f"HGG/B1/B1_{name}.nii.gz", array)
    write_split(root, {"labelled": ["B1"]})
    flags = ("--modalities=t2,t1ce", "--spacing_mm=0,0,0")
    (record,) = records(convert(root, tmp_path / "out", *flags, "--label_values=1,2,4"), "labelled")
    np.testing.assert_array_equal(record.native_label, segmentation > 0)
    assert record.images["t2"].astype(np.float64).std() == pytest.approx(1, abs=0.01)
    line = refused(root, tmp_path / "bad", r"expected label values \[0, 1\], got also \[2, 4\]", *flags)
    assert "B1_seg.nii.gz" in line and "--label_values" in line
    core = convert(root, tmp_path / "core", *flags, "--label_values=1,4", "--background_values=0,2")
    np.testing.assert_array_equal(records(core, "labelled")[0].native_label, np.isin(segmentation, [1, 4]))


def test_regions_and_classes_of_one_label_map(tmp_path):
    root = tmp_path / "source"
    segmentation = np.zeros(image_folders.SHAPE, np.uint8)
    segmentation[2:4, 3:6, 2], segmentation[4:6, 3:6, 2], segmentation[6:8, 3:6, 2] = 1, 2, 4
    segmentation[:, :, -1] = 99
    for name, array in (("t2", image_folders.pet(1)), ("t1ce", image_folders.pet(2)), ("seg", segmentation)):
        image_folders.write(root / f"HGG/B1/B1_{name}.nii.gz", array)
    write_split(root, {"labelled": ["B1"]})
    flags = ("--modalities=t2,t1ce", "--spacing_mm=0,0,0", "--ignore_value=99")
    regions = ("--labels=wt:1+2+4,tc:1+4,et:4",)
    info = DatasetInfo.load(convert(root, tmp_path / "regions", *flags, *regions))
    (record,) = shards.read_cases(info, info.cases("labelled"))
    assert info.contract_version == 3 and info.labels.names == ("wt", "tc", "et")
    np.testing.assert_array_equal(info.labels.mask(record.native_label, "tc"), np.isin(segmentation, [1, 4]))
    np.testing.assert_array_equal(info.labels.ignored(record.native_label), segmentation == 99)
    (entry,) = info.cases("labelled")
    assert entry.class_slices == {"wt": 1, "tc": 1, "et": 1}
    assert entry.annotated_slices == image_folders.SHAPE[2] - 1 and entry.lesion_slices == 1
    classes = ("--labels=edema:2,core:1+4", "--label_activation=softmax")
    info = DatasetInfo.load(convert(root, tmp_path / "classes", *flags, *classes))
    (record,) = shards.read_cases(info, info.cases("labelled"))
    np.testing.assert_array_equal(
        record.native_label, np.select([segmentation == 2, segmentation == 99, segmentation > 0], [1, 255, 2])
    )
    for number, (change, message) in enumerate(
        {
            ("--labels=wt:1+2+4,core:7",): "the class 'core' in at least one labelled patient, but none of B1 has it",
            ("--labels=a:1,b:1+2", "--label_activation=softmax"): "'a' and 'b' share the value 1",
            ("--labels=wt:1+2",): r"expected label values \[0, 1, 2, 99\], got also \[4\]",
            (*regions, "--label_values=1,2"): "--labels and --label_values contradict each other",
            ("--label_activation=softmax",): "is for the classes of --labels",
        }.items()
    ):
        refused(root, tmp_path / f"bad{number}", message, *flags, *change)
