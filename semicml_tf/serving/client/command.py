"""Segments volumes with a model behind gRPC (TensorFlow Serving's PredictionService).

  python -m semicml_tf.serving.client --address=127.0.0.1:8500 --model=ct in.nii.gz mask.nii.gz
  python -m semicml_tf.serving.client --address=127.0.0.1:8500 --model=ct SERIES mask.nii.gz       # a folder of DICOM

The mask (uint8, 0/1) lies on the input's own grid; masks of several classes are those of semicml_tf.predict. The server
sends the model's manifest; no exported model is needed here. Only slices are sent: resampled, normalised, without any
identifying header. For research only, not for clinical use.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.serving.client.config import ClientConfig

CONFIG = ClientConfig
POSITIONAL = ("input", "output")


def main(config: ClientConfig) -> None:
    """Prints the outcome."""
    from semicml_tf.serving.client.job import predict

    commandline.show(predict(config))
