"""Segments a patient's record, and makes one mask per class on the patient's own grid."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from semicml_tf.geometry.patch import Patch
from semicml_tf.inference import slices
from semicml_tf.inference.averaging import BY_DEFAULT, Averaging, mean_over_flips
from semicml_tf.inference.class_masks import ClassMasks
from semicml_tf.postprocessing.steps import NONE, Postprocessing, to_mask
from semicml_tf.preprocessing.pipeline import to_patient_grid
from semicml_tf.records.case_record import CaseRecord

# Maps a record to the probabilities of each class on its network grid, (classes, slices, rows, columns) float32. The
# result is None if the record lacks the image.
CaseSegmenter = Callable[[CaseRecord], np.ndarray | None]


def by_network(
    network,
    modality: str,
    patch: Patch,
    batch_size: int,
    *,
    classes: int = 1,
    batch_statistics: bool = False,
    averaging: Averaging = BY_DEFAULT,
) -> CaseSegmenter:
    """A segmenter that reads one modality through a network.

    Args:
        network: `keras.Model` (batch, *space, channels) float32 -> (batch, *space, classes) probabilities.
        modality: name of the image that it reads.
        patch: the extent of one input of the network.
        batch_size: slices per call, at most.
        classes: number of the network's output channels.
        batch_statistics: normalise by the statistics of the slices in a call, as in training.
        averaging: flips and overlap.
    """
    import tensorflow as tf

    # The batch axis is free, so that a smaller last batch is not compiled again.
    signature = [tf.TensorSpec((None, *patch.shape), tf.float32)]
    predict = tf.function(lambda batch: network(batch, training=batch_statistics), input_signature=signature)

    def sound(batch):
        return slices.checked(predict(batch))

    answer = functools.partial(mean_over_flips, sound) if averaging.flips else sound

    def segment(record: CaseRecord) -> np.ndarray | None:
        if modality not in record.images:
            return None
        image = record.images[modality]
        return slices.probabilities(
            image, patch, answer, classes=classes, batch_size=batch_size, overlap=averaging.overlap
        )

    return segment


def native_mask(
    probabilities: np.ndarray, record: CaseRecord, threshold: float, steps: Postprocessing = NONE
) -> np.ndarray:
    """The mask that prediction would write: interpolated onto the patient's own grid, thresholded and corrected.

    Args:
        probabilities: on the record's network grid, (slices, rows, columns) float32.
        threshold: a voxel of at least this probability is foreground.
        steps: post-processing of the mask.

    Returns:
        uint8 0/1 of the native grid's shape.
    """
    soft = to_patient_grid(probabilities, record.grid, record.native_grid)
    # In C order, as labels are: scoring compares the two voxel by voxel.
    return np.ascontiguousarray(to_mask(soft, threshold, steps, record.native_grid.voxel_volume_ml))


def native_masks(
    probabilities: np.ndarray,
    record: CaseRecord,
    thresholds: Mapping[str, float],
    steps: Mapping[str, Postprocessing],
) -> Iterator[tuple[str, np.ndarray]]:
    """The masks of all classes, in their order; see `native_mask`.

    Args:
        probabilities: on the record's network grid, (classes, slices, rows, columns) float32.
        thresholds: by class; {} for exclusive classes, where the class or background with the largest probability wins.
        steps: post-processing by class; other classes have none.

    Yields:
        A class, and uint8 0/1 of the native grid's shape.
    """
    names = record.labels.names
    if thresholds:
        for name, soft in zip(names, probabilities):
            yield name, native_mask(soft, record, thresholds[name], steps.get(name, NONE))
        return
    class_masks = ClassMasks(record.labels, {}, steps, record.native_grid.voxel_volume_ml)
    for soft in probabilities:
        class_masks.add(to_patient_grid(soft, record.grid, record.native_grid))
    yield from zip(names, map(np.ascontiguousarray, class_masks.masks()))
