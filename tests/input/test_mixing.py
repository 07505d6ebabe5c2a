"""CutMix: a box of another patient with the same modalities, one box for all images, the label and its mask."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.input.mixing import cutmix

COUNT, SIDE = 12, 16


def _batch(patients, present=None):
    """Windows whose every pixel is the number of the window."""
    number = np.broadcast_to(
        np.arange(len(patients), dtype=np.float32)[:, None, None, None], (len(patients), SIDE, SIDE, 1)
    )
    batch = {
        "image": {"ct": number, "pet": number + 100},
        "label": np.concatenate([number + 200, number + 300], axis=-1),
        "valid": number + 400,
        "patient": np.asarray(patients, np.int32),
        "seed": np.arange(len(patients), dtype=np.int32),
    }
    if present is not None:
        batch["present"] = {"ct": np.ones(len(patients), np.float32), "pet": np.asarray(present, np.float32)}
    return tf.nest.map_structure(tf.constant, batch)


def _sources(mixed):
    """(batch, SIDE, SIDE) number of the window that each pixel is of, which is the same in all parts."""
    source = mixed["image"]["ct"].numpy()[..., 0]
    parts = [mixed["image"]["pet"][..., 0] - 100, mixed["label"][..., 0] - 200, mixed["label"][..., 1] - 300]
    for part in [*parts, mixed["valid"][..., 0] - 400]:
        np.testing.assert_array_equal(part, source)
    return source.astype(int)


def test_images_label_and_mask_get_one_box_of_another_patient():
    patients = np.arange(COUNT) % 3
    fractions = []
    for seed in range(30):
        mixed = cutmix(_batch(patients), 1.0, tf.constant([seed, 1]))
        for index, window in enumerate(_sources(mixed)):
            rows, columns = np.nonzero(window != index)
            fractions.append(len(rows) / SIDE**2)
            majority = index
            if len(rows):
                (source,) = set(window[rows, columns])
                assert patients[source] != patients[index]
                # A whole box.
                assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
                majority = source if fractions[-1] > 0.5 else index
            assert mixed["patient"][index] == patients[majority]
        np.testing.assert_array_equal(mixed["seed"], np.arange(COUNT))
    # Beta(1, 1) is uniform; the mean of 360 draws has a standard deviation of 0.015.
    assert np.mean(fractions) == pytest.approx(0.5, abs=0.07) and min(fractions) < 0.05 and max(fractions) > 0.95


def test_windows_of_patients_with_other_modalities_are_never_mixed():
    present = np.arange(COUNT) % 2
    for seed in range(10):
        mixed = cutmix(_batch(np.arange(COUNT), present), 1.0, tf.constant([seed, 1]))
        for index, window in enumerate(_sources(mixed)):
            assert set(present[np.unique(window)]) == {present[index]}
        np.testing.assert_array_equal(mixed["present"]["pet"], present)


def test_without_a_partner_or_a_chance_nothing_changes():
    for batch, probability in ((_batch([5, 5, 5]), 1.0), (_batch([0, 1, 2, 3]), 0.0), (_batch([0, 1], [0, 1]), 1.0)):
        mixed = cutmix(batch, probability, tf.constant([1, 2]))
        tf.nest.map_structure(np.testing.assert_array_equal, mixed, batch)


def test_about_the_asked_share_of_windows_is_mixed():
    mixed = [
        (_sources(cutmix(_batch(np.arange(COUNT)), 0.5, tf.constant([seed, 1])))[i] != i).any()
        for seed in range(20)
        for i in range(COUNT)
    ]
    # 240 windows; boxes of no pixel are few.
    assert 0.35 < np.mean(mixed) < 0.6
