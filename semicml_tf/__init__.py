"""Two segmentation networks, one per modality, trained together with few labels.

`load` opens an exported model: ``semicml_tf.load("models/ct").predict(array, affine)``.
"""

import os

__version__ = "0.1.0"

# TensorFlow uses oneDNN's kernels by default only on processors with AVX-512 VNNI. With AVX2 they are faster, too.
# TensorFlow reads the variable when it is imported. A value that the user has set stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def load(model):
    """Opens an exported model; see `semicml_tf.inference.exported_model.load`."""
    # Imported late: TensorFlow takes seconds to load, and most of the package does without it.
    from semicml_tf.inference.exported_model import load as load_model

    return load_model(model)
