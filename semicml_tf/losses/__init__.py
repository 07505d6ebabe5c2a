"""Losses on maps in [0, 1], by `keras.ops` alone, so that they run on any Keras backend.

Shapes: a stack of maps is (batch, *space, classes). Of regions, each class is a sigmoid of its own. Of exclusive
classes, the background's probability is what is left to 1.

A loss returns a vector (batch,), one value per sample. A loss that is coupled over the batch says so and returns a
scalar: it needs the global batch.
"""
