"""The networks that the contracts run over, each in each number of dimensions, and as small as it can be."""

import functools

from semicml_tf.errors import UserError
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from tests.support import gated_network, method_batches

ENTRIES = {**catalogue.NETWORKS, gated_network.NAME: gated_network.ENTRY}
# Name and dimensions.
CASES = [(name, dimensions) for name, entry in ENTRIES.items() for dimensions in entry.dimensions]
WIDTH = 2
# By dimensions. Patches are divided in plane first.
WINDOWS = {2: method_batches.WINDOW, 3: (2, 8, 8)}
STRIDES = ((1, 2, 2), (2, 2, 2), (1, 2, 2))


@functools.cache
def smallest(name: str, dimensions: int | None = None, feature: str = "") -> NetworkSpec:
    """The specification of the fewest levels with which a network can be built and has the feature."""
    entry = ENTRIES[name]
    dimensions = dimensions or entry.dimensions[0]
    for levels in range(1, entry.levels + 1):
        strides = STRIDES[: levels - 1] if dimensions == 3 else ()
        options = dict(entry.options)
        spec = NetworkSpec(name, WINDOWS[dimensions], WIDTH, levels, dimensions, options=options, strides=strides)
        try:
            parts = catalogue.build(spec, name="ct").parts
        except UserError:
            continue
        if not feature or getattr(parts, feature):
            return spec
    raise AssertionError(f"{name} has no {feature} features with any number of levels")
