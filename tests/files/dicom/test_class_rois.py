"""Classes by the names of structures: what the option refuses, and values that a label definition reads back."""

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import class_rois
from semicml_tf.labels import SIGMOID, SOFTMAX, LabelDefinition


@pytest.mark.parametrize("exclusive", [False, True])
def test_joined_values_are_those_of_the_classes(exclusive):
    masks = {name: np.zeros((3, 4), np.int32) for name in ("a", "b", "c")}
    for number, mask in enumerate(masks.values()):
        mask[number] = 1
    if not exclusive:
        masks["c"][:, 0] = 1
    values = class_rois.joined(masks, exclusive=exclusive)
    texts = class_rois.as_labels(list(masks), exclusive=exclusive)
    labels = LabelDefinition.parse(texts, activation=SOFTMAX if exclusive else SIGMOID)
    np.testing.assert_array_equal(labels.masks(labels.encode(values)), list(masks.values()))
    assert texts[0] == ("a:1" if exclusive else "a:1+3+5+7")


@pytest.mark.parametrize(
    "texts, message",
    [
        (["bladder"], "NAME=REGEX"),
        (["a=x", "a=y"], "each class once, got 'a=y'"),
        (["a b=x"], "NAME=REGEX"),
        (["a=["], "no regular expression"),
        ([f"r{number}=x" for number in range(9)], "at most 8 classes.*softmax"),
    ],
)
def test_what_is_refused(texts, message):
    with pytest.raises(UserError, match=message) as caught:
        class_rois.parse(texts, exclusive=False)
    assert "\n" not in caught.value.line


def test_a_region_may_have_a_comma_in_its_expression():
    assert class_rois.parse(["a=x{1,2}", "b=y=z"], exclusive=True) == {"a": "x{1,2}", "b": "y=z"}
