"""A network that tests alone know, unlike the U-Net in names and layers: a residual block and an attention gate."""

from keras import layers

from semicml_tf.errors import UserError
from semicml_tf.networks.catalogue import Entry
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec

NAME = "gated"
ENTRY = Entry(
    module=__name__,
    help="residual block, attention gate",
    levels=2,
    features=("encoder", "decoder"),
    dropout=True,
    options={"gate": True},
)


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`."""
    if spec.levels != 2:
        raise UserError(f"expected a gated network of 2 levels, got {spec.levels}")
    width = spec.width
    top = build.dropout(build.conv(slices, width, "stem"), 0.5, salt=0)
    top = layers.Add(dtype=build.policy)([top, build.conv(top, width, "residual")])
    bottom = build.conv(layers.MaxPooling2D(dtype=build.policy)(top), width, "bottom")
    coarse = build.conv(bottom, width, "coarse")
    up = build.layer(layers.Conv2DTranspose, "up", width, 2, strides=2, padding="same")(coarse)
    if spec.options["gate"]:
        gate = build.layer(layers.Conv2D, "gate", width, 1, activation="sigmoid")(up)
        top_seen = layers.Multiply(dtype=build.policy)([top, gate])
    else:
        top_seen = top
    x = build.conv(layers.Concatenate(dtype=build.policy)([top_seen, up]), width, "head")
    return Parts(build.probabilities(x, spec), encoder=(top, bottom), decoder=(coarse,))
