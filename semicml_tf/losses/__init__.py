"""Losses on maps in [0, 1], by `keras.ops` alone, so that they run on any Keras backend.

Shapes: a map stack is (batch, height, width, 1). A loss returns a vector (batch,), one value a
sample; those coupled over the batch say so and return a scalar: they need the global batch.
"""
