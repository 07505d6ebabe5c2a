"""The target: codes of classes and regions, and invalid targets."""

import numpy as np
import pytest

from semicml_tf import labels_file
from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN, SOFTMAX, LabelDefinition

BRATS = LabelDefinition({"wt": (1, 2, 4), "tc": (1, 4), "et": (4,)})
ORGANS = LabelDefinition({"liver": (1,), "kidney": (2, 3), "spleen": (7,)}, SOFTMAX, ignore_value=255)
SPARSE = LabelDefinition({"lesion": (1,)}, ignore_value=9)
MAP = np.array([[0, 1, 2], [4, 4, 0]])


def test_codes_of_regions_are_bits():
    codes = BRATS.encode(MAP)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, [[0, 0b011, 0b001], [0b111, 0b111, 0]])
    np.testing.assert_array_equal(BRATS.mask(codes, "tc"), [[0, 1, 0], [1, 1, 0]])
    assert BRATS.ignored(codes) is None


def test_codes_of_exclusive_classes_are_their_numbers():
    codes = ORGANS.encode(np.array([0, 1, 2, 3, 7, 255]))
    np.testing.assert_array_equal(codes, [0, 1, 2, 2, 3, 255])
    np.testing.assert_array_equal(ORGANS.masks(codes)[1], [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(ORGANS.ignored(codes), [False] * 5 + [True])
    np.testing.assert_array_equal(ORGANS.any(codes), [False, True, True, True, True, False])


def test_an_ignored_voxel_of_a_region_has_its_own_bit():
    codes = SPARSE.encode(np.array([0, 1, 9]))
    np.testing.assert_array_equal(codes, [0, 1, 2])
    np.testing.assert_array_equal(SPARSE.mask(codes, "lesion"), [0, 1, 0])


@pytest.mark.parametrize("labels", [PLAIN, BRATS, ORGANS, SPARSE], ids=["plain", "regions", "classes", "sparse"])
def test_masks_joined_give_the_codes_again(labels):
    values = np.array([0, *labels.values, *(() if labels.ignore_value is None else (labels.ignore_value,))])
    codes = labels.encode(values)
    assert labels.is_valid(codes)
    np.testing.assert_array_equal(labels.join(labels.masks(codes), labels.ignored(codes)), codes)
    assert labels_file.parse(labels_file.text(labels)) == labels


def test_nine_regions_need_two_bytes():
    nine = LabelDefinition({f"r{number}": (number + 1,) for number in range(9)})
    codes = nine.encode(np.array([9, 1]))
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, [1 << 8, 1])


def test_a_mask_of_all_values_of_a_byte_is_valid():
    eight = LabelDefinition({f"r{number}": (number + 1,) for number in range(8)})
    assert eight.is_valid(np.array([255], np.uint8))
    assert not BRATS.is_valid(np.array([8], np.uint8)) and not ORGANS.is_valid(np.array([4], np.uint8))


def test_the_order_of_classes_is_kept_and_only_the_lesion_of_values_is_plain():
    parsed = LabelDefinition.parse(["b:2", "a:1+4"])
    assert parsed.names == ("b", "a") and str(parsed) == "b:2,a:1+4"
    assert PLAIN.is_plain and not SPARSE.is_plain and not LabelDefinition({"tumour": (1,)}).is_plain
    assert labels_file.parse(labels_file.text(parsed)).names == ("b", "a")


@pytest.mark.parametrize(
    "texts,options,message",
    [
        (["wt"], {}, "NAME:VALUE"),
        (["wt:1", "wt:2"], {}, "each name once"),
        (["wt:1.5"], {}, "whole numbers"),
        (["w t:1"], {}, "letters, digits"),
        (["a:1", "b:1+2"], {"activation": SOFTMAX}, "'a' and 'b' share the value 1"),
        (["a:1"], {"ignore_value": 1}, "the ignored value 1"),
        ([f"c{number}:{number + 1}" for number in range(256)], {"activation": SOFTMAX}, "1 to 255 exclusive classes"),
        ([f"c{number}:{number + 1}" for number in range(31)], {}, "1 to 30 regions"),
    ],
)
def test_a_target_that_contradicts_itself_is_refused(texts, options, message):
    with pytest.raises(UserError, match=message):
        LabelDefinition.parse(texts, **options)


@pytest.mark.parametrize("text", ["[]", '{"classes": {}}', '{"classes": {"a": ["1"]}}', '{"classes": {"a": []}}'])
def test_hostile_json_of_a_target_is_refused(text):
    with pytest.raises(UserError, match="the labels of a dataset"):
        labels_file.parse(text)
