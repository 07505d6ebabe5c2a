"""The precision of features, and of what is computed from them."""

from __future__ import annotations

import keras

# Names of Keras's policies by the precision of the features. Variables are float32, or float64 beside float64.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16", "float64": "float64"}


def full_precision(dtype) -> str:
    """The dtype of statistics, probabilities and losses for features of `dtype`: float64 for float64, else float32."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"
