"""Label values of nnU-Net: consecutive, and compatible with nnU-Net's order of writing regions."""

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.records.nnunet_labels import NnunetLabels

NESTED = LabelDefinition({"et": (4,), "wt": (1, 2, 4), "tc": (1, 4)}, ignore_value=255)


def test_one_region_is_label_1():
    labels = NnunetLabels.of(PLAIN)
    assert labels.to_json() == {"labels": {"background": 0, "lesion": 1}} and labels.mask_values == "lesion:1"
    assert labels.encode(np.array([0, 1, 1], np.uint8)).tolist() == [0, 1, 1]


def test_exclusive_classes_keep_their_numbers_and_ignored_voxels_get_the_highest():
    definition = LabelDefinition({"liver": (1,), "kidney": (2, 3)}, "softmax", ignore_value=9)
    labels = NnunetLabels.of(definition)
    assert labels.to_json() == {"labels": {"background": 0, "liver": 1, "kidney": 2, "ignore": 3}}
    assert labels.encode(definition.encode(np.array([0, 1, 2, 3, 9]))).tolist() == [0, 1, 2, 2, 3]


def test_nested_regions_have_consecutive_values_and_come_after_those_that_contain_them():
    labels = NnunetLabels.of(NESTED)
    # Codes have bit 0 for et, 1 for wt, 2 for tc: value 2 is wt alone, 1 is wt and tc, 4 is all.
    assert labels.codes.tolist() == [0, 0b010, 0b110, 0b111, 0b1000]
    assert labels.encode(NESTED.encode(np.array([0, 1, 2, 4, 255]))).tolist() == [0, 2, 1, 3, 4]
    assert labels.to_json() == {
        "labels": {"background": 0, "wt": [1, 2, 3], "tc": [2, 3], "et": 3, "ignore": 4},
        "regions_class_order": [1, 2, 3],
    }
    assert labels.mask_values == "et:3,wt:1+2+3,tc:2+3"


def test_writing_regions_in_nnunets_order_gives_the_label_map():
    labels = NnunetLabels.of(NESTED)
    body = labels.to_json()
    truth = labels.encode(NESTED.encode(np.array([0, 1, 2, 4])))
    regions = [values for name, values in body["labels"].items() if name not in ("background", "ignore")]
    written = np.zeros_like(truth)
    for region, value in zip(regions, body["regions_class_order"]):
        written[np.isin(truth, region)] = value
    np.testing.assert_array_equal(written, truth)


def test_the_values_of_separately_drawn_regions_come_from_the_data():
    definition = LabelDefinition({"outer": (1,), "inner": (2,)})
    assert NnunetLabels.of(definition).to_json() == {"labels": {"background": 0, "outer": 1, "inner": 2}}
    labels = NnunetLabels.of(definition, np.array([0, 0b01, 0b11], np.uint8))
    assert labels.to_json() == {
        "labels": {"background": 0, "outer": [1, 2], "inner": 2},
        "regions_class_order": [1, 2],
    }
    with pytest.raises(UserError, match="'outer' and 'inner' overlap"):
        NnunetLabels.of(definition, np.array([0b01, 0b10, 0b11], np.uint8))
    with pytest.raises(UserError, match="no exported label has a voxel of 'inner'"):
        NnunetLabels.of(definition, np.array([0b01], np.uint8))


def test_regions_that_overlap_in_part_are_refused():
    with pytest.raises(UserError, match="'a' and 'b' overlap, and neither contains the other"):
        NnunetLabels.of(LabelDefinition({"a": (1, 2), "b": (2, 3)}))


def test_a_class_with_a_reserved_name_is_refused():
    with pytest.raises(UserError, match="the class 'ignore' has a name with a meaning of its own in nnU-Net"):
        NnunetLabels.of(LabelDefinition({"ignore": (1,)}))
