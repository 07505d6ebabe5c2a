"""Post-processing of masks: closed forms, its text, and its way from the manifest into the mask."""

import dataclasses
import json

import numpy as np
import pytest

from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
from semicml_tf.errors import UserError
from semicml_tf.inference.volume import Segmenter
from semicml_tf.postprocessing.steps import NONE, Postprocessing
from tests.support import threshold_model


def scene():
    """A hollow cube of 5 voxels' side, a bar of 4 voxels, and a single voxel; the cube's cavity is one voxel."""
    mask = np.zeros((12, 12, 12), np.uint8)
    mask[1:6, 1:6, 1:6] = 1
    mask[3, 3, 3] = 0
    mask[8:12, 8, 8] = 1
    mask[0, 11, 0] = 1
    return mask


@pytest.mark.parametrize(
    "text, count",
    [
        ("none", 124 + 4 + 1),
        ("fill_holes", 125 + 4 + 1),
        ("largest", 124),
        ("min_ml=0.004", 124 + 4),  # of 1 mm voxels: exactly the bar stays
        ("min_ml=0.0041", 124),
        ("min_ml=1", 0),
        ("fill_holes+min_ml=0.125+largest", 125),  # the cavity counts, since it is filled first
        ("min_ml=0.125+largest", 0),
    ],
)
def test_closed_forms(text, count):
    mask = scene()
    corrected = Postprocessing.parse(text).apply(mask, 0.001)
    assert corrected.dtype == np.uint8 and corrected.sum() == count
    np.testing.assert_array_equal(mask, scene())


def test_sizes_are_volumes_not_voxels():
    steps = Postprocessing(min_ml=0.4)
    assert steps.apply(scene(), 0.1).sum() == 128 and steps.apply(scene(), 0.01).sum() == 124


def test_connected_through_corners_but_enclosed_through_faces():
    diagonal = np.zeros((4, 4, 4), np.uint8)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1
    assert Postprocessing(largest=True).apply(diagonal, 1.0).sum() == 2
    # A shell that lacks its corners and edges still encloses its cavity: background does not leave through an edge.
    shell = np.zeros((5, 5, 5), np.uint8)
    for axis in range(3):
        for side in (1, 3):
            at = [2, 2, 2]
            at[axis] = side
            shell[tuple(at)] = 1
    assert Postprocessing(fill_holes=True).apply(shell, 1.0).sum() == 7
    shell[1, 2, 2] = 0
    assert Postprocessing(fill_holes=True).apply(shell, 1.0).sum() == 5


def test_the_same_in_every_orientation_and_idempotent():
    steps = Postprocessing.parse("fill_holes+min_ml=0.004")
    expected = steps.apply(scene(), 0.001)
    np.testing.assert_array_equal(steps.apply(expected, 0.001), expected)
    for axes in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        turned = np.flip(scene().transpose(axes), 1)
        np.testing.assert_array_equal(steps.apply(turned, 0.001), np.flip(expected.transpose(axes), 1))


def test_empty_stays_empty():
    for text in ("none", "fill_holes+min_ml=1+largest"):
        assert not Postprocessing.parse(text).apply(np.zeros((3, 3, 3)), 1.0).any()


@pytest.mark.parametrize("text", ["none", "largest", "min_ml=0.25", "fill_holes+min_ml=2+largest"])
def test_text_round_trip(text):
    assert str(Postprocessing.parse(text)) == text
    assert (Postprocessing.parse(text) == NONE) == (text == "none")


@pytest.mark.parametrize("text", ["", "biggest", "min_ml", "min_ml=0", "min_ml=-1", "min_ml=nan", "largest=1"])
def test_other_texts_are_refused(text):
    with pytest.raises(UserError):
        Postprocessing.parse(text)
    with pytest.raises(UserError):
        Postprocessing.parse(f"none+{text}")


def test_the_manifest_keeps_it(tmp_path):
    made = dataclasses.replace(threshold_model.manifest("ct"), postprocessing=Postprocessing(largest=True))
    made.save(tmp_path)
    assert Manifest.load(tmp_path) == made
    body = json.loads((tmp_path / RELATIVE_PATH).read_text())
    assert body["postprocessing"] == "largest"
    (tmp_path / RELATIVE_PATH).write_text(json.dumps(body | {"postprocessing": "shrink"}))
    with pytest.raises(UserError, match="manifest.json: .*expected post-processing steps, got .shrink."):
        Manifest.load(tmp_path)


def test_a_segmenter_applies_what_its_manifest_says():
    class Passing(Segmenter):
        def slices(self, batch):
            return (batch > 0).astype(np.float32)

    values = np.where(np.pad(scene(), 2) > 0, 200.0, -900.0)  # framed: no component reaches the border
    model = Passing(dataclasses.replace(threshold_model.manifest("ct"), postprocessing=Postprocessing(largest=True)))
    assert model.predict(values, np.eye(4)).sum() == 124
    with pytest.raises(ValueError, match="affine"):
        model.mask(np.ones((2, 2, 2)))
