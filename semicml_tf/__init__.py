"""Two segmentation networks, one per modality, trained together with few labels.

`load` opens an exported model: ``semicml_tf.load("models/ct").predict(array, affine)``.
"""

__version__ = "0.1.0"


def load(model):
    """Opens an exported model; see `semicml_tf.artefact.load.load`."""
    # Imported late: TensorFlow takes seconds to load, and most of the package does without it.
    from semicml_tf.artefact.load import load as load_model

    return load_model(model)
