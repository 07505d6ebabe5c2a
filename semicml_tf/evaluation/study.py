"""All methods on all patients: one pass over the records, one score per patient and method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.evaluation.metrics import CaseScore, score
from semicml_tf.evaluation.segment import CaseSegmenter, native_mask
from semicml_tf.inference.postprocess import NONE, Postprocessing
from semicml_tf.records.contract import CaseRecord

OnCase = Callable[[CaseRecord, Mapping[str, np.ndarray], Mapping[str, CaseScore]], None]


# Segmenters that answer with a mask have nothing between 0 and 1.
_OF_A_MASK = 0.5


def evaluate_predictions(
    records: Iterable[CaseRecord],
    segmenters: Mapping[str, CaseSegmenter],
    *,
    thresholds: Mapping[str, float] | None = None,
    postprocessing: Mapping[str, Postprocessing] | None = None,
    on_case: OnCase | None = None,
) -> dict[str, list[CaseScore]]:
    """Scores every segmenter on every record, on the patient's own grid.

    Args:
        records: labelled, read once, one in memory at a time.
        segmenters: by row name. A record for which one answers None, since it lacks an image, is not scored there.
        thresholds: on the probability, by row name; 0.5 for rows that are not named.
        postprocessing: of the masks, by row name; none for rows that are not named.
        on_case: called after each patient with the record and, by the names of the rows in which it is scored, the
            probabilities on the network's grid and the scores.

    Returns:
        By row name, the scores in the records' order; rows may hold different numbers of patients.

    Raises:
        UserError: a record has no label, or a segmenter's answer is not finite.
    """
    results: dict[str, list[CaseScore]] = {name: [] for name in segmenters}
    for record in records:
        if record.native_label is None:
            raise UserError(f"case {record.case_id} has no label", remedy="Choose a partition with labels")
        answers = {name: segmenter(record) for name, segmenter in segmenters.items()}
        drawn = {name: probabilities for name, probabilities in answers.items() if probabilities is not None}
        scored = {}
        for name, probabilities in drawn.items():
            # NaN >= 0.5 is False: a broken network would pass for one that finds nothing.
            if not np.all(np.isfinite(probabilities)):
                raise UserError(
                    f"'{name}' gave probabilities that are not finite for case {record.case_id}",
                    remedy="The network is broken: train it again",
                )
            mask = native_mask(probabilities, record, (thresholds or {}).get(name, _OF_A_MASK))
            mask = (postprocessing or {}).get(name, NONE).apply(mask, record.native_grid.voxel_volume_ml)
            scored[name] = score(record.case_id, mask, record.native_label, record.native_grid)
            results[name].append(scored[name])
        if on_case is not None:
            on_case(record, drawn, scored)
    return results
