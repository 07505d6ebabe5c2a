"""Losses on maps in [0, 1]. They use only `keras.ops`, so that they run on any Keras backend.

Maps have the shape (batch, *space, classes). Regions have independent sigmoids. For exclusive classes, the probability
of the background is 1 minus the sum of the classes.

A loss returns a vector (batch,), one value per sample. A loss that is coupled over the batch returns a scalar, and
needs the global batch. Its docstring says so.
"""
