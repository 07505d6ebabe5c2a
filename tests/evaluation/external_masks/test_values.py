"""Values and segments of the classes."""

import pathlib

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation.external_masks.values import MaskValues
from semicml_tf.labels import PLAIN, LabelDefinition

REGIONS = LabelDefinition({"wt": (1, 2, 4), "et": (4,)})
CLASSES = LabelDefinition({"liver": (1,), "kidney": (2, 3)}, "softmax", 255)
PATH = pathlib.Path("p1.nii.gz")


def masks(texts, labels, values):
    found, others = MaskValues.parse(texts, labels).masks(np.array(values), PATH)
    return {name: mask.tolist() for name, mask in found.items()}, others


def test_defaults():
    assert masks([], PLAIN, [0, 1, 1]) == ({"lesion": [0, 1, 1]}, ())
    # Also where the dataset's own files have other values.
    assert masks([], LabelDefinition.plain((2, 4)), [0, 1, 0])[0] == {"lesion": [0, 1, 0]}
    assert masks([], REGIONS, [0, 1, 2, 4])[0] == {"wt": [0, 1, 1, 1], "et": [0, 0, 0, 1]}
    assert masks([], CLASSES, [0, 1, 2, 3])[0] == {"liver": [0, 1, 0, 0], "kidney": [0, 0, 1, 1]}


def test_named_values_leave_the_others_as_background():
    assert masks(["2+3"], PLAIN, [0, 1, 2, 3]) == ({"lesion": [0, 0, 1, 1]}, (1,))
    assert masks(["2", "3"], PLAIN, [0, 2, 3, 3])[0] == {"lesion": [0, 1, 1, 1]}
    assert masks(["et:3", "wt:1+2+3"], REGIONS, [1, 2, 3, 9]) == ({"wt": [1, 1, 1, 0], "et": [0, 0, 1, 0]}, (9,))


@pytest.mark.parametrize(("labels", "values", "flag"), [(PLAIN, [0, 2], "--mask_values=2"), (CLASSES, [1, 255], "liv")])
def test_other_values_need_the_flag(labels, values, flag):
    with pytest.raises(UserError, match=f"p1.nii.gz: expected the values 0, 1.*{flag}"):
        masks([], labels, values)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["x"], PLAIN, "expected whole numbers as values of --mask_values"),
        (["0"], PLAIN, "other than 0"),
        (["1"], REGIONS, "expected --mask_values=NAME:VALUE"),
        (["wt:1"], REGIONS, "of the classes wt, et, got wt"),
        (["liver:1", "kidney:1"], CLASSES, "share the value 1"),
    ],
)
def test_wrong_flags(texts, labels, message):
    with pytest.raises(UserError, match=message):
        MaskValues.parse(texts, labels)


def test_segments():
    def numbers(texts, labels, names):
        return MaskValues.parse(texts, labels).segments(names, PATH)

    assert numbers([], PLAIN, {1: "whatever"}) == {"lesion": [1]}
    assert numbers(["2"], PLAIN, {1: "a", 2: "b"}) == {"lesion": [2]}
    assert numbers([], REGIONS, {1: "wt (research only)", 2: "et"}) == {"wt": [1], "et": [2]}
    assert numbers(["wt:1+2", "et:2"], REGIONS, {1: "a", 2: "b"}) == {"wt": [1, 2], "et": [2]}
    with pytest.raises(UserError, match="expected segments of lesion, got 1 'a', 2 'b'. .*--mask_values=1"):
        numbers([], PLAIN, {1: "a", 2: "b"})
    with pytest.raises(UserError, match="expected segments of wt, et, got 1 'wt', 2 'b'"):
        numbers([], REGIONS, {1: "wt", 2: "b"})
