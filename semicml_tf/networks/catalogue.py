"""The networks by name. Other rooms build a network from its specification and know no layer by name."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch, Window, spatial_of
from semicml_tf.geometry.strides import strides as strides_of
from semicml_tf.networks.spec import NetworkSpec


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network that can be trained.

    Attributes:
        module: holds its function ``connect(slices, build, spec) -> network.Parts``. The module is imported only when
            a network is built: `--help` does not wait for Keras.
        help: one line.
        levels: number of resolutions by default; the highest number for patches.
        dimensions: those that it can have: 2 for slices, 3 for patches.
        features: names of the features that `connect` declares: ``encoder``, ``decoder``; see `network.Parts`.
        dropout: whether `connect` places Monte-Carlo dropout.
        options: default values of its own options, by name.
    """

    module: str
    help: str
    levels: int = 5
    dimensions: tuple[int, ...] = (2,)
    features: tuple[str, ...] = ()
    dropout: bool = False
    options: Mapping[str, bool | int | float | str] = dataclasses.field(default_factory=dict)


NETWORKS = {
    "unet": Entry(
        "semicml_tf.networks.unet",
        "2-D U-Net with batch normalisation",
        features=("encoder", "decoder"),
        dropout=True,
    ),
    "unet3d": Entry(
        "semicml_tf.networks.unet",
        "3-D U-Net; strides and kernels follow the spacing, as in nnU-Net",
        dimensions=(3,),
        features=("encoder", "decoder"),
        dropout=True,
    ),
    "resunet": Entry(
        "semicml_tf.networks.resunet",
        "2-D or 3-D U-Net with a residual encoder, as nnU-Net's ResEnc presets",
        dimensions=(2, 3),
        features=("encoder", "decoder"),
        dropout=True,
    ),
    "attention_unet": Entry(
        "semicml_tf.networks.attention_unet",
        "2-D or 3-D U-Net with attention gates (Oktay et al. 2018)",
        dimensions=(2, 3),
        features=("encoder", "decoder"),
        dropout=True,
    ),
    "hybrid": Entry(
        "semicml_tf.networks.hybrid",
        "2-D convolutions and a transformer, after MCTHNet",
        features=("encoder", "decoder"),
        dropout=True,
    ),
    "msgu": Entry(
        "semicml_tf.networks.msgu",
        "2-D U-Net with a fifth of the parameters, after MSGU-Net",
        features=("encoder", "decoder"),
        dropout=True,
    ),
}


def entry(name: str) -> Entry:
    """The entry of a network.

    Raises:
        UserError: there is no network of this name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name, NETWORKS, n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Correct --network"
    raise UserError(f"expected a network among {', '.join(NETWORKS)}, got '{name}'", remedy=remedy)


def specification(
    name: str,
    *,
    window: Window,
    width: int,
    classes: int = 1,
    activation: str = "sigmoid",
    spacing_mm: Sequence[float] | None = None,
    context_slices: int = 0,
) -> NetworkSpec:
    """A network's specification, all else at its defaults.

    Args:
        window: side in pixels of the slices, or (slices, rows, columns) of the patches in voxels.
        width: channels of the first level.
        classes: number of classes or regions.
        activation: ``sigmoid`` for regions, ``softmax`` for classes that exclude each other.
        spacing_mm: (slice, row, column) of the patches' voxels. It decides which axes a network for patches divides.
        context_slices: neighbours on each side of a slice, as channels of the input.

    Raises:
        UserError: there is no network of this name.
        ValueError: a value is out of its range.
    """
    chosen, spatial = entry(name), spatial_of(window)
    strides = strides_of(spatial, spacing_mm, levels=chosen.levels) if len(spatial) == 3 else ()
    return NetworkSpec(
        name,
        window,
        width,
        len(strides) + 1 if len(spatial) == 3 else chosen.levels,
        len(spatial),
        input_channels=Patch(window, context_slices).channels,
        output_channels=classes,
        options=dict(chosen.options),
        activation=activation,
        strides=strides,
    )


def build(spec: NetworkSpec, *, name: str, seed: int = 0, synchronized: bool = False, precision: str = "float32"):
    """Builds the network of a specification.

    Args:
        name: of the model: the modality.
        seed: of the initial weights.
        synchronized: whether batch statistics are those of all replicas together, or of each replica.
        precision: of the features, one of `precision.POLICIES`. Variables and probabilities are float32 in half
            precision, too.

    Returns:
        A `network.Network` (batch, *space, channels) float32 -> probabilities (batch, *space, classes).

    Raises:
        UserError: this version has no such network, or the network has other dimensions or options.
    """
    from semicml_tf.networks.network import Builder, Network

    builder = Builder(seed=seed, synchronized=synchronized, precision=precision)
    slices, parts = _connected(spec, builder)
    return Network(slices, parts, spec, builder.last_seed, name=name)


def with_dropout(network):
    """A network with Monte-Carlo dropout, which is on at every call; it shares all weights.

    The architecture is built from the network's own specification.

    Args:
        network: from `build`.

    Returns:
        A `keras.Model` ``[slices, seeds (batch,) int32]`` -> probabilities; the seeds of the samples draw the dropout.

    Raises:
        UserError: the network has no dropout.
    """
    import keras

    from semicml_tf.networks.network import Builder
    from semicml_tf.networks.precision import full_precision

    if not entry(network.spec.name).dropout:
        raise UserError(
            f"the network {network.spec.name} has no dropout", remedy="Choose another --network, or switch dropout off"
        )
    precision = full_precision(network.output.dtype)
    builder = Builder(precision=precision, share=network, seeds=keras.Input((), dtype="int32", name="seeds"))
    slices, parts = _connected(network.spec, builder)
    view = keras.Model([slices, builder.seeds], parts.probabilities, name=f"{network.name}_with_dropout")
    if [id(weight) for weight in view.weights] != [id(weight) for weight in network.weights]:
        raise ValueError(f"the network {network.spec.name} makes layers without its builder, which cannot share them")
    return view


def _connected(spec: NetworkSpec, builder):
    """The input and the parts of a specification's network."""
    import keras

    chosen = entry(spec.name)
    if spec.dimensions not in chosen.dimensions or set(spec.options) != set(chosen.options):
        raise UserError(
            f"expected a network {spec.name} of {' or '.join(map(str, chosen.dimensions))} dimensions and the options "
            f"{', '.join(chosen.options) or 'none'}, got {spec.dimensions} and {', '.join(spec.options) or 'none'}",
            remedy="Use the version of the package that wrote this specification",
        )
    slices = keras.Input((*spec.spatial, spec.input_channels), dtype=builder.full, name="slices")
    return slices, importlib.import_module(chosen.module).connect(slices, builder, spec)
