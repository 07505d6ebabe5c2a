"""Mirror images and overlapping inputs."""

import numpy as np

from semicml_tf.inference.averaging import Averaging, mean_over_flips


def test_a_patch_is_mirrored_along_all_three_axes():
    weights = np.random.default_rng(0).uniform(size=(1, 2, 3, 4, 1)).astype(np.float32)
    batch = np.random.default_rng(1).normal(size=(2, 2, 3, 4, 1)).astype(np.float32)
    seen = []

    def predict(flipped):
        seen.append(flipped)
        return weights * flipped

    found = mean_over_flips(predict, batch)
    symmetric = weights
    for axis in (1, 2, 3):
        symmetric = (symmetric + np.flip(symmetric, axis)) / 2
    np.testing.assert_allclose(found, symmetric * batch, atol=1e-6)
    assert len(seen) == 8


def test_the_record_names_what_differs_from_the_defaults():
    assert Averaging().record == {}
    assert Averaging(flips=True, overlap=0.5).record == {"flips": True, "overlap": 0.5}
