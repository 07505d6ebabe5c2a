"""The gates of the attention U-Net."""

import numpy as np

from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec


def test_a_closed_gate_hides_the_encoders_features_and_the_top_level_has_no_gate():
    network = catalogue.build(NetworkSpec("attention_unet", 8, 2, 3), name="ct")
    decoder, rng = network.decoder(), np.random.default_rng(0)
    features = [rng.uniform(size=(1, *x.shape[1:])).astype(np.float32) for x in network.parts.encoder]

    def changes(level):
        others = [np.flip(x, 1) if number == level else x for number, x in enumerate(features)]
        return np.abs(np.asarray(decoder(others)) - np.asarray(decoder(features))).max() > 1e-5

    assert [changes(level) for level in range(3)] == [True, True, True]
    psi = network.get_layer("gate1_psi")
    psi.set_weights([np.zeros_like(psi.kernel), np.array([-100.0])])
    assert [changes(level) for level in range(3)] == [True, False, True]
