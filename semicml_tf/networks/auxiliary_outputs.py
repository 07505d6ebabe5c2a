"""Outputs beside a network's own that only training has: decoders of perturbed features, and maps at coarser scales."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from semicml_tf.networks.network import CONVOLUTIONS, REPEATING, Network, class_probabilities, dimensions
from semicml_tf.networks.perturbations import FeatureDrop, FeatureNoise
from semicml_tf.networks.precision import full_precision
from semicml_tf.networks.sample_noise import SampleDropout
from semicml_tf.networks.spec import NetworkSpec

# By kind, the perturbation of a level's features. Salts differ from the Monte-Carlo dropout's, which are the levels.
PERTURBATIONS = {
    "noise": lambda level, dtype="float32": FeatureNoise(salt=100 + level, dtype=dtype),
    "dropout": lambda level, dtype="float32": SampleDropout(0.3, salt=200 + level, dtype=dtype),
    "feature_drop": lambda level, dtype="float32": FeatureDrop(salt=300 + level, dtype=dtype),
}


def _inputs(features):
    inputs = [keras.Input(x.shape[1:], dtype=full_precision(x.dtype)) for x in features]
    return inputs, keras.Input((), dtype="int32", name="seeds")


def perturbed_decoder(kind: str, donor: Network, name: str) -> keras.Model:
    """The decoder of `donor`, a network of the student's specification, on perturbed features (CCT).

    Args:
        kind: of `PERTURBATIONS`; all features are perturbed.

    Returns:
        A model ``[*features, seeds (batch,) int32]`` -> probabilities (batch, *space, classes).
    """
    inputs, seeds = _inputs(donor.parts.encoder)
    perturbed = [PERTURBATIONS[kind](level, x.dtype)([x, seeds]) for level, x in enumerate(inputs)]
    # `call` connects the decoder's own layers, where calling the model would nest it as one layer.
    return keras.Model([*inputs, seeds], donor.decoder().call(perturbed), name=name)


def scale_heads(features, spec: NetworkSpec, seed: int, name: str) -> keras.Model:
    """A map from each of the decoder's (at most three) coarser scales, enlarged to the whole window (URPC).

    As in the SSL4MIS collection, what a head reads is perturbed: by noise, dropped features, dropout.

    Args:
        features: ``parts.decoder`` of a network.
        spec: of that network.
        seed: of the initial weights.

    Returns:
        A model ``[*features, seeds (batch,) int32]`` -> a list of probabilities (batch, *space, classes).
    """
    inputs, seeds = _inputs(features)
    dtype = inputs[0].dtype if inputs else "float32"
    perturb = (
        FeatureNoise(salt=400, dtype=dtype),
        FeatureDrop(salt=401, dtype=dtype),
        SampleDropout(0.5, salt=402, dtype=dtype),
    )
    outputs = []
    for number, (x, perturbation) in enumerate(zip(inputs, perturb)):
        initial = keras.initializers.HeNormal(seed=seed * 1009 + number)
        perturbed = perturbation([x, seeds])

        def convolution(count, *, x=perturbed, initial=initial, **options):
            return CONVOLUTIONS[dimensions(x)](count, 1, kernel_initializer=initial, **options)(x)

        x = class_probabilities(spec, convolution, dtype)
        factors = tuple(whole // size for whole, size in zip(spec.spatial, x.shape[1:-1]))
        outputs.append(REPEATING[dimensions(x)](factors, dtype=dtype)(x))
    return keras.Model([*inputs, seeds], outputs, name=name)


def coarse_maps(features, spec: NetworkSpec, seed: int, name: str) -> keras.Model:
    """A map from each of the decoder's coarser scales, on its own grid (deep supervision).

    Args:
        features: ``parts.decoder`` of a network.
        spec: of that network.
        seed: of the initial weights.

    Returns:
        A model ``[*features]`` -> a list of probabilities (batch, *coarse space, classes).
    """
    inputs = [keras.Input(x.shape[1:], dtype=full_precision(x.dtype)) for x in features]

    def of(number, x):
        def convolution(count, **options):
            initial = keras.initializers.HeNormal(seed=seed * 1009 + 500 + number)
            return CONVOLUTIONS[dimensions(x)](count, 1, kernel_initializer=initial, **options)(x)

        return class_probabilities(spec, convolution, x.dtype)

    return keras.Model(inputs, [of(number, x) for number, x in enumerate(inputs)], name=name)


def with_outputs(network: keras.Model, features, beside: Mapping[str, keras.Model]) -> keras.Model:
    """One model of a network and those that read its features.

    Args:
        network: gives a map, or several by name, of which the network's own is ``main``.

    Returns:
        A model ``[slices, seeds (batch,) int32]`` -> the network's own map under ``main``, and what each of
        `beside` gives under its key. It shares all weights.
    """
    seeds = keras.Input((), dtype="int32", name="sample_seeds")
    others = {key: model([*features, seeds]) for key, model in beside.items()}
    own = network.output if isinstance(network.output, dict) else {"main": network.output}
    return keras.Model([network.input, seeds], {**own, **others})
