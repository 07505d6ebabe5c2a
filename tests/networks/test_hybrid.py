"""The hybrid of convolutions and a transformer."""

import keras
import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.networks import catalogue, hybrid
from semicml_tf.networks.network import Builder
from semicml_tf.networks.spec import NetworkSpec


@pytest.mark.parametrize("window, width", [(12, 2), (16, 3)])
def test_a_window_or_width_that_does_not_fit_is_refused(window, width):
    with pytest.raises(UserError, match=rf"multiple of 8 and an even --width for hybrid, got {window} and {width}"):
        catalogue.build(NetworkSpec("hybrid", window, width, 3), name="ct")


def test_each_patch_attends_to_all_patches_and_to_the_same_of_their_pixels():
    tokens = keras.Input((3, 4))
    block = keras.Model(tokens, hybrid._block(tokens, Builder(), 8, "block"))
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    expected = np.asarray(block(values))
    # No code of positions: patches in another order give their results in that order.
    np.testing.assert_allclose(block(values[:, ::-1]), expected[:, ::-1], atol=1e-5)
    other = values.copy()
    other[0, 0, 0] += 1.0
    changed = np.abs(np.asarray(block(other)) - expected).max(axis=-1) > 1e-6
    np.testing.assert_array_equal(changed, [[True] * 3, [False] * 3])


def test_channels_of_the_two_scales_alternate():
    network = catalogue.build(NetworkSpec("hybrid", 8, 4, 2), name="ct")
    stacked = next(node for node in network.operations if type(node).__name__ == "Stack")
    assert stacked.output.shape == (None, 8, 8, 2, 2)
