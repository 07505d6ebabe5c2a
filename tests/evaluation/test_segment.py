"""Masks on the patient's own grid from probabilities on a whole or cropped record's grid."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.evaluation.segment import by_network, native_mask
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.patch import Patch
from semicml_tf.inference import slices
from semicml_tf.inference.averaging import Averaging, mean_over_flips
from semicml_tf.inference.volume import Segmenter, network_input
from semicml_tf.postprocessing.steps import NONE, Postprocessing
from semicml_tf.records.case_record import CaseRecord
from tests.support import threshold_model
from tests.support.evaluation_data import ball, oblique_grid, patient


def cropped(record, start, stop):
    """The record's box [start, stop), as conversion cuts it."""
    box = tuple(slice(a, b) for a, b in zip(start, stop))
    affine = record.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(start, float)
    return dataclasses.replace(
        record,
        grid=Grid(tuple(b - a for a, b in zip(start, stop)), affine),
        images={name: image[box] for name, image in record.images.items()},
        label=record.label[box],
        crop_offset=start,
        full_shape=record.grid.shape,
    )


@pytest.mark.parametrize("spacing_mm", [(0.0, 0.0, 0.0), (2.0, 2.5, 2.5)])
def test_a_crop_that_holds_the_lesion_changes_nothing(spacing_mm):
    native = oblique_grid()
    lesion = ball(native, (14, 12, 7), 6.0)
    whole = patient("P", lesion, native, spacing_mm=spacing_mm)
    found = np.argwhere(whole.label)
    part = cropped(whole, tuple(found.min(axis=0) - 2), tuple(found.max(axis=0) + 3))
    assert np.prod(part.grid.shape) < np.prod(whole.grid.shape) / 2
    expected = native_mask(whole.label.astype(np.float32), whole, 0.5)
    np.testing.assert_array_equal(native_mask(part.label.astype(np.float32), part, 0.5), expected)
    assert expected.any() and expected.shape == native.shape


def test_outside_the_crop_is_background():
    native = oblique_grid()
    whole = patient("P", ball(native, (14, 12, 7), 6.0), native)  # the network's spacing is the patient's own
    start, stop = (3, 4, 5), (9, 20, 21)
    part = cropped(whole, start, stop)
    mask = native_mask(np.ones(part.grid.shape, np.float32), part, 0.5)
    # All of the box and nothing else: the border is not repeated beyond it.
    assert mask.sum() == np.prod(part.grid.shape)
    expected = np.zeros(whole.grid.shape, np.float32)
    expected[tuple(slice(a, b) for a, b in zip(start, stop))] = 1
    np.testing.assert_array_equal(mask, native_mask(expected, whole, 0.5))


def test_a_lesion_at_the_border_keeps_its_outermost_half_voxel():
    # Network voxels twice as long as the patient's: the outermost native voxels lie beyond the last centres.
    native = Grid((16, 16, 8), np.diag([-1.0, -1.0, 1.0, 1.0]))
    whole = patient("P", np.ones(native.shape, np.uint8), native, spacing_mm=(2.0, 2.0, 2.0))
    assert whole.grid.shape == (4, 8, 8)
    ones = np.ones(whole.grid.shape, np.float32)
    assert native_mask(ones, whole, 0.5).all()
    part = cropped(whole, (1, 2, 2), (3, 6, 6))
    assert native_mask(ones[1:3, 2:6, 2:6], part, 0.5).sum() == 8 * np.prod(part.grid.shape)


@pytest.mark.parametrize("steps", [NONE, Postprocessing(min_ml=0.1)], ids=str)
@pytest.mark.parametrize("crop", ["body", "none"])
def test_the_scored_mask_is_the_mask_that_prediction_writes(crop, steps):
    native = Grid((20, 24, 12), threshold_model.oblique())
    values = threshold_model.volume("ct", native.shape)
    values[:8] = -1000
    values[8:] += 350
    manifest = threshold_model.manifest("ct", spacing_mm=(5.0, 2.2, 1.9))
    model = Segmenter(dataclasses.replace(manifest, crop=crop, postprocessing=steps))
    model.slices = threshold_model.predict("ct")
    network = network_input(values, native, model.manifest)
    record = CaseRecord("case", network.grid, network.images, network.constants, native)
    soft = slices.probabilities(record.images["ct"], manifest.patch, model.slices)
    expected = model.predict(values, native.affine)
    assert 0.01 < expected.mean() < 0.9
    np.testing.assert_array_equal(native_mask(soft, record, manifest.threshold, steps), expected)


@pytest.mark.parametrize("window", [8, (4, 8, 8)])
def test_evaluation_averages_over_flips_and_overlap_as_prediction_does(window):
    native = oblique_grid()
    record = patient("P", ball(native, (14, 12, 7), 6.0), native)
    patch = Patch(window)
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[:, np.newaxis]

    def predict(batch, training=False):
        return 0 * batch + ramp

    found = by_network(predict, "ct", patch, 8, averaging=Averaging(flips=True, overlap=0.75))(record)
    expected = slices.probabilities(
        record.images["ct"], patch, lambda batch: mean_over_flips(predict, batch), classes=1, overlap=0.75
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, by_network(predict, "ct", patch, 8)(record), atol=1e-3)
