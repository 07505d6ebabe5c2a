"""Artefacts that TFX has no type for."""

from tfx.types.artifact import Artifact


class PseudoLabels(Artifact):
    """Soft labels of unlabelled patients, as `semicml_tf.diagnostics.label_files` writes them."""

    # Kubeflow wants a namespace, and its containers import the type by this name.
    TYPE_NAME = "pipelines.PseudoLabels"


class DeliveryReport(Artifact):
    """What the check of a delivery found: `delivery.json`; its custom property `passed` is 1 where that is nothing."""

    TYPE_NAME = "pipelines.DeliveryReport"
