"""A network with what other rooms may know of it, and the builder of its layers."""

from __future__ import annotations

import dataclasses

import keras
from keras import layers

from semicml_tf.networks.batch_norm import BatchNormalization
from semicml_tf.networks.precision import POLICIES, full_precision
from semicml_tf.networks.sample_noise import SampleDropout
from semicml_tf.networks.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a network's `connect` returns: symbolic tensors.

    Attributes:
        probabilities: (batch, *space, classes).
        encoder: features that all of the rest is computed from, larger ones first. Auxiliary decoders read them.
        decoder: features of the decoder at coarser scales, larger ones first. Auxiliary heads read them.
    """

    probabilities: keras.KerasTensor
    encoder: tuple[keras.KerasTensor, ...] = ()
    decoder: tuple[keras.KerasTensor, ...] = ()


class Network(keras.Model):
    """A network of the catalogue: (batch, *space, channels) float32 -> probabilities (batch, *space, classes).

    `space` is the spatial shape of the specification: (rows, columns), or (slices, rows, columns).

    Attributes:
        spec: what the network was built from.
        parts: its features, for auxiliary outputs.
        last_seed: initial seed of the last layer; auxiliary layers derive theirs from it.
    """

    def __init__(self, slices, parts: Parts, spec: NetworkSpec, last_seed: int, *, name: str):
        super().__init__(slices, parts.probabilities, name=name)
        self.spec, self.parts, self.last_seed = spec, parts, last_seed

    def decoder(self) -> keras.Model:
        """The rest of the network behind the encoder's features: ``parts.encoder`` -> probabilities. Shares weights."""
        return keras.Model(list(self.parts.encoder), self.output)

    def encoder(self) -> keras.Model:
        """The network up to the encoder's features: the input -> ``parts.encoder``. Shares weights."""
        return keras.Model(self.inputs, list(self.parts.encoder))

    def take_encoder(self, other: Network) -> None:
        """Copies the weights of another network's encoder.

        Raises:
            ValueError: the encoders have different layers; the message names the first difference.
        """
        own, others = self.encoder().layers[1:], other.encoder().layers[1:]  # without the input
        if len(own) != len(others):
            raise ValueError(f"the encoder has {len(others)} layers, not {len(own)}")
        for mine, theirs in zip(own, others):
            for what, expected in _facts(mine).items():
                if _facts(theirs)[what] != expected:
                    raise ValueError(f"{what} of layer {theirs.name} is {_facts(theirs)[what]}, not {expected}")
        for mine, theirs in zip(own, others):
            mine.set_weights(theirs.get_weights())


# Attributes of layers that change what weights of the same shapes mean.
_MEANING = ("strides", "pool_size", "padding", "dilation_rate", "groups", "num_heads")


def _facts(layer) -> dict[str, object]:
    facts = {"class": type(layer).__name__, "weights": [tuple(weight.shape) for weight in layer.weights]}
    activation = getattr(getattr(layer, "activation", None), "__name__", None)
    return facts | {name: getattr(layer, name, None) for name in _MEANING} | {"activation": activation}


# By the number of dimensions.
CONVOLUTIONS = {2: layers.Conv2D, 3: layers.Conv3D}
_TRANSPOSED = {2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}
_POOLING = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}
_MEAN_POOLING = {2: layers.AveragePooling2D, 3: layers.AveragePooling3D}
REPEATING = {2: layers.UpSampling2D, 3: layers.UpSampling3D}
# By kind of layer, the argument of its initial values.
_INITIALIZED = dict.fromkeys((*CONVOLUTIONS.values(), *_TRANSPOSED.values(), layers.Dense), "kernel_initializer")
_INITIALIZED[layers.DepthwiseConv2D] = "depthwise_initializer"


def dimensions(x) -> int:
    """Number of spatial dimensions of features (batch, *space, channels)."""
    return len(x.shape) - 2


class Builder:
    """Makes layers whose names and initial values depend on the seed and their place alone.

    Convolutions and pooling have the dimensions of the features that they are called on.

    Args:
        seed: of the initial weights.
        synchronized: whether batch statistics are those of all replicas together.
        precision: of the features, one of `precision.POLICIES`.
        share: a network whose layers are called again; no layer is made.
        seeds: symbolic, (batch,) int32: the samples' seeds, if dropout is on.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        synchronized: bool = False,
        precision: str = "float32",
        share: keras.Model | None = None,
        seeds: keras.KerasTensor | None = None,
    ):
        self.synchronized, self.share, self.seeds, self.last_seed = synchronized, share, seeds, seed * 1009
        self.policy, self.full = POLICIES[precision], full_precision(precision)

    def layer(self, kind, name: str, *args, **kwargs):
        """The layer of this name: made by ``kind(*args, **kwargs)``, or taken from `share`."""
        if self.share is not None:
            return self.share.get_layer(name)
        kwargs.setdefault("dtype", self.policy)
        if kind in _INITIALIZED:
            self.last_seed += 1
            kwargs[_INITIALIZED[kind]] = keras.initializers.HeNormal(seed=self.last_seed)
        return kind(*args, name=name, **kwargs)

    def convolution(self, x, channels: int, kernel: int | tuple[int, ...], name: str, **options):
        """A convolution that keeps the size unless it has strides."""
        kind = CONVOLUTIONS[dimensions(x)]
        return self.layer(kind, name, channels, kernel, padding="same", **options)(x)

    def norm(self, x, name: str):
        """Batch normalisation."""
        return self.layer(BatchNormalization, name, momentum=0.9, epsilon=1e-5, synchronized=self.synchronized)(x)

    def normed_conv(self, x, channels: int, name: str, kernel: int | tuple[int, ...] = 3, **options):
        """A convolution and batch normalisation."""
        # No bias: batch normalisation removes it, and Adam would turn its rounding noise into full steps.
        x = self.convolution(x, channels, kernel, f"{name}_conv", use_bias=False, **options)
        return self.norm(x, f"{name}_norm")

    def conv(self, x, channels: int, name: str, kernel: int | tuple[int, ...] = 3, **options):
        """A convolution, batch normalisation and ReLU."""
        return self.relu(self.normed_conv(x, channels, name, kernel, **options), name)

    def relu(self, x, name: str):
        """The layer NAME_relu."""
        return self.layer(layers.ReLU, f"{name}_relu")(x)

    def pool(self, x, steps: tuple[int, ...]):
        """Max pooling over boxes of this size."""
        return _POOLING[dimensions(x)](steps, dtype=self.policy)(x)

    def mean_pool(self, x, steps: tuple[int, ...]):
        """Average pooling over boxes of this size."""
        return _MEAN_POOLING[dimensions(x)](steps, dtype=self.policy)(x)

    def repeat(self, x, steps: tuple[int, ...]):
        """Repeats each pixel so often along each axis."""
        return REPEATING[dimensions(x)](steps, dtype=self.policy)(x)

    def enlarge(self, x, channels: int, steps: tuple[int, ...], name: str):
        """A transposed convolution that enlarges each axis by its step."""
        kind = _TRANSPOSED[dimensions(x)]
        return self.layer(kind, name, channels, steps, strides=steps, padding="same")(x)

    def dropout(self, x, rate: float, salt: int):
        """Monte-Carlo dropout where seeds are given, else `x`. The salt separates the draws of a network's layers."""
        return x if self.seeds is None else SampleDropout(rate, salt=salt, dtype=self.policy)([x, self.seeds])

    def probabilities(self, x, spec: NetworkSpec):
        """The network's last layer."""
        # float32 also for features in half precision: losses and clients rely on it.
        kind = CONVOLUTIONS[dimensions(x)]
        return class_probabilities(
            spec, lambda count, **options: self.layer(kind, "probabilities", count, 1, **options)(x), self.full
        )


def class_probabilities(spec: NetworkSpec, convolution, dtype: str):
    """A channel per class of a specification.

    Args:
        convolution: makes the output of a convolution of size 1 with so many channels: (count, activation, dtype).
    """
    if not spec.exclusive:
        return convolution(spec.output_channels, activation=spec.activation, dtype=dtype)
    # The first channel is the background, which maps leave out.
    return convolution(spec.output_channels + 1, activation=spec.activation, dtype=dtype)[..., 1:]
