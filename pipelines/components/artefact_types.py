"""Artefact types that TFX does not have."""

from tfx.types.artifact import Artifact


class PseudoLabels(Artifact):
    """Soft labels of unlabelled patients, in the format of `semicml_tf.diagnostics.label_files`."""

    # Kubeflow requires a namespace, and its containers import the type by this name.
    TYPE_NAME = "pipelines.PseudoLabels"


class DeliveryReport(Artifact):
    """Findings of the check of a delivery: `delivery.json`. The custom property `passed` is 1 without anomalies."""

    TYPE_NAME = "pipelines.DeliveryReport"
