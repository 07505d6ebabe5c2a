"""Artefacts that TFX has no type for."""

from tfx.types.artifact import Artifact


class PseudoLabels(Artifact):
    """Soft labels of unlabelled patients, as `semicml_tf.evaluation.label_files` writes them."""

    # Kubeflow wants a namespace.
    TYPE_NAME = "semicml.PseudoLabels"
