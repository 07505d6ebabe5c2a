"""Classes by the names of structures: what the option refuses, and values that a label definition reads back."""

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import class_rois
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.series import open_series
from semicml_tf.labels import SIGMOID, SOFTMAX, LabelDefinition
from tests.files.dicom.test_labels import SHAPE, blob, box, images, write_rtstruct, write_seg


@pytest.mark.parametrize("exclusive", [False, True])
def test_joined_label_values(exclusive):
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
def test_invalid_expressions_are_refused(texts, message):
    with pytest.raises(UserError, match=message) as caught:
        class_rois.parse(texts, exclusive=False)
    assert "\n" not in caught.value.line


def test_a_region_may_have_a_comma_in_its_expression():
    assert class_rois.parse(["a=x{1,2}", "b=y=z"], exclusive=True) == {"a": "x{1,2}", "b": "y=z"}


def test_classes_by_name_may_overlap_or_exclude_each_other(tmp_path):
    masks = {"Tumour GTVp": blob(), "CTV": np.maximum(blob(), blob(seed=1)), "liver": np.zeros_like(blob())}
    masks["liver"][5] = 1
    path = write_seg(tmp_path / "seg.dcm", images(tmp_path / "ct"), masks)
    series = open_series(tmp_path / "ct")

    def read(rois, exclusive=False):
        label = DicomLabel((path,), series, rois=tuple(rois.items()), exclusive=exclusive)
        values, grid, warnings = label.read_label_with_warnings()
        assert grid.is_close(series.read_grid())
        return values.transpose(2, 1, 0), warnings

    values, warnings = read({"ctv": "^ctv$", "gtv": "gtvp"})
    np.testing.assert_array_equal(values, masks["CTV"] + 2 * masks["Tumour GTVp"])
    assert not warnings
    values, (warning,) = read({"heart": "heart", "gtv": "gtvp", "liver": "liver"}, exclusive=True)
    np.testing.assert_array_equal(values, 2 * masks["Tumour GTVp"] + 3 * masks["liver"])
    assert warning.code == "class_missing" and "'heart', got 'Tumour GTVp', 'CTV', 'liver'" in warning.problem
    with pytest.raises(UserError, match=r"seg.dcm: the exclusive classes 'ctv' and 'gtv' share voxels \(\d+ voxels"):
        read({"ctv": "ctv", "gtv": "gtv"}, exclusive=True)
    with pytest.raises(UserError, match="one of the classes heart, lung, got 'Tumour GTVp'"):
        read({"heart": "heart", "lung": "lung"})


def test_structures_of_several_objects_are_classes(tmp_path):
    images(tmp_path / "ct")
    first = write_rtstruct(tmp_path / "a", {"GTV": [box(1.5, 3.5, 1.5, 3.5, 2)]})
    second = write_rtstruct(tmp_path / "b", {"CTV": [box(1.5, 5.5, 1.5, 5.5, 2)]})
    label = DicomLabel((first, second), open_series(tmp_path / "ct"), rois=(("gtv", "gtv"), ("ctv", "ctv")))
    assert np.bincount(label.read_label()[0].ravel()).tolist() == [np.prod(SHAPE) - 16, 0, 12, 4]
    both = DicomLabel((first, second), open_series(tmp_path / "ct"), rois=(("any", "tv"),))
    with pytest.raises(UserError, match="--label_rois matches names in 2 objects"):
        both.read_label()
