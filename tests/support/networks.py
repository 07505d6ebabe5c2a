"""Small U-Nets for tests."""

from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec


def unet(window: int, width: int, *, name: str, levels: int | None = None, **how):
    """A U-Net with the catalogue's number of levels, unless `levels` is given; `how` as for `catalogue.build`."""
    levels = catalogue.NETWORKS["unet"].levels if levels is None else levels
    return catalogue.build(NetworkSpec("unet", window, width, levels), name=name, **how)
