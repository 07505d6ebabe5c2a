"""From a patient's record to a mask on the patient's own grid, whoever draws it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semicml_tf.geometry.resample import resample
from semicml_tf.inference import slices
from semicml_tf.records.case_record import CaseRecord

# Maps a record to foreground probabilities on its network grid, (slices, rows, columns) float32; to None where the
# record lacks the image that they are drawn from.
CaseSegmenter = Callable[[CaseRecord], np.ndarray | None]


def by_network(
    network, modality: str, window: int, batch_size: int, *, batch_statistics: bool = False
) -> CaseSegmenter:
    """A segmenter that reads one modality through a network.

    Args:
        network: `keras.Model` (batch, window, window, 1) float32 -> probabilities likewise.
        modality: name of the image that it reads.
        window: side of its slices.
        batch_size: slices a call, at most.
        batch_statistics: normalise by the statistics of the slices of a call, as in training.
    """
    import tensorflow as tf

    # The batch axis is free, so that a last, smaller batch compiles nothing anew.
    signature = [tf.TensorSpec((None, window, window, 1), tf.float32)]
    predict = tf.function(lambda batch: network(batch, training=batch_statistics), input_signature=signature)

    def sound(batch):
        return slices.checked(predict(batch))

    def segment(record: CaseRecord) -> np.ndarray | None:
        if modality not in record.images:
            return None
        return slices.probabilities(record.images[modality], window, sound, batch_size=batch_size)

    return segment


def native_mask(probabilities: np.ndarray, record: CaseRecord, threshold: float) -> np.ndarray:
    """Foreground on the patient's own grid: probabilities interpolated onto it, at least `threshold`.

    What lies beyond the record's grid, by more than half a voxel, is background.

    Args:
        probabilities: on the record's network grid, (slices, rows, columns).
        threshold: on the probability.

    Returns:
        uint8 0/1 of the native grid's shape.
    """
    # A cropped record's grid ends before the patient's does: nothing was segmented there.
    soft = resample(probabilities, record.grid, record.native_grid, outside=0.0)
    return (soft >= np.float32(threshold)).astype(np.uint8)
