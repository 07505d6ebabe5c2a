"""The light network."""

import keras
import numpy as np

from semicml_tf.networks import catalogue, msgu
from semicml_tf.networks.network import Builder


def test_it_has_a_fifth_of_the_parameters_of_the_unet():
    counts = [
        catalogue.build(catalogue.specification(name, window=32, width=8), name="ct").count_params()
        for name in ("msgu", "unet")
    ]
    assert counts[0] < counts[1] / 5


def test_rows_and_columns_share_the_layers_of_the_local_attention():
    """The weights of a transposed slice are the transposed weights."""
    x = keras.Input((4, 4, 2))
    attention = keras.Model(x, msgu._local_attention(x, Builder(), "local"))
    values = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32)
    turned = np.asarray(attention(values.transpose(0, 2, 1, 3)))
    np.testing.assert_allclose(turned.transpose(0, 2, 1, 3), attention(values), atol=1e-6)
