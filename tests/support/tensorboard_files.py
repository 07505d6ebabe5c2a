"""What TensorBoard finds in a run's folder."""

import contextlib

import tensorflow as tf


def logged(folder):
    """Step and tag of each record, sorted; what is written twice is there twice."""
    found = []
    for path in (folder / "tensorboard").iterdir():
        with contextlib.suppress(tf.errors.DataLossError):  # cut off by a kill
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)
