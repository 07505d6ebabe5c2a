"""DSC of many segmenters on the same patients. The other scores take most of the time and are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from semicml_tf.evaluation.score_cases import segmented
from semicml_tf.evaluation.segment import CaseSegmenter, native_masks
from semicml_tf.inference.agreement import dice
from semicml_tf.records.case_record import CaseRecord


def dice_by_case(
    records: Iterable[CaseRecord],
    segmenters: Mapping[str, CaseSegmenter],
    thresholds: Mapping[str, Mapping[str, float]],
    *,
    jobs: int = 1,
) -> dict[str, dict[str, float]]:
    """Mean DSC over classes on the patient's own grid, without post-processing and ignored voxels.

    Args:
        records: labelled, read once, one at a time in memory.
        segmenters: by row name. A record for which a segmenter returns None is not scored in that row.
        thresholds: on the probability, by row name and class; {} for exclusive classes.
        jobs: masks that are scored at the same time, on threads.

    Returns:
        DSC by row name and case.

    Raises:
        UserError: a record has no label, or a segmenter's answer is not finite.
    """
    scores: dict[str, dict[str, float]] = {name: {} for name in segmenters}
    with ThreadPoolExecutor(jobs, thread_name_prefix="dice") as pool:
        for record in records:
            waiting = {
                name: pool.submit(_dice, probabilities, record, thresholds[name])
                for name, probabilities in segmented(record, segmenters).items()
            }
            for name, future in waiting.items():
                scores[name][record.case_id] = future.result()
    return scores


def _dice(probabilities: np.ndarray, record: CaseRecord, thresholds: Mapping[str, float]) -> float:
    labels, ignored = record.labels, record.labels.ignored(record.native_label)
    valid = ... if ignored is None else ~ignored
    masks = native_masks(probabilities, record, thresholds, {})
    return float(
        np.mean([dice(mask[valid], labels.mask(record.native_label, class_name)[valid]) for class_name, mask in masks])
    )
