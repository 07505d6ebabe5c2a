"""The networks that the contracts run over, each as small as it can be."""

import functools

from semicml_tf.errors import UserError
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from tests.support import gated_network, method_batches

ENTRIES = {**catalogue.NETWORKS, gated_network.NAME: gated_network.ENTRY}
WIDTH = 2


@functools.cache
def smallest(name: str, feature: str = "") -> NetworkSpec:
    """The specification of the fewest levels with which a network can be built and has the feature."""
    entry = ENTRIES[name]
    for levels in range(1, entry.levels + 1):
        spec = NetworkSpec(name, method_batches.WINDOW, WIDTH, levels, options=dict(entry.options))
        try:
            parts = catalogue.build(spec, name="ct").parts
        except UserError:
            continue
        if not feature or getattr(parts, feature):
            return spec
    raise AssertionError(f"{name} has no {feature} features with any number of levels")
