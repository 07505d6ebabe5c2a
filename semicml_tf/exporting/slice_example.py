"""A slice as a `tf.train.Example`: the input of the signature `serialized`.

One feature, `slice`: a float list of the numbers of one input, row by row and the channels of a pixel together,
normalised as the manifest says.
"""

from __future__ import annotations

import numpy as np

from semicml_tf.artefact.manifest import SLICE_FEATURE
from semicml_tf.geometry.patch import Patch
from semicml_tf.records import example_proto


def encode(values: np.ndarray) -> bytes:
    """The example of a slice, (window, window, channels), as `tf.train.Example` serialises it."""
    return example_proto.serialize({SLICE_FEATURE: example_proto.floats(values)})


def parse_in_graph(examples, patch: Patch):
    """The slices of serialised examples; part of a TensorFlow graph.

    Args:
        examples: strings (batch,).
        patch: what one example holds.

    Returns:
        float32 (batch, *patch.shape).

    Raises:
        tf.errors.InvalidArgumentError: at run time: a string is no example, lacks the feature, or has another size.
    """
    import tensorflow as tf

    features = {SLICE_FEATURE: tf.io.FixedLenFeature(patch.shape, tf.float32)}
    return tf.io.parse_example(examples, features)[SLICE_FEATURE]
