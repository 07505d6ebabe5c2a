"""Scores all methods on all patients in one pass over the records."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from semicml_tf.errors import UserError, doing
from semicml_tf.evaluation.metrics.case_score import CaseScore, mean_over_classes, score
from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM
from semicml_tf.evaluation.segment import CaseSegmenter, native_masks
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.postprocessing.steps import NONE, Postprocessing, largest_class
from semicml_tf.records.case_record import CaseRecord


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """The answer of a segmenter for a patient.

    Attributes:
        probabilities: on the record's network grid, (classes, slices, rows, columns) float32.
        masks: bool of the same shape: the scored masks after post-processing, resampled to this grid.
        scores: by class, of the masks on the patient's own grid.
    """

    probabilities: np.ndarray
    masks: np.ndarray
    scores: Mapping[str, CaseScore]

    @property
    def score(self) -> CaseScore:
        """Over all classes; see `mean_over_classes`."""
        return mean_over_classes(list(self.scores.values()))


OnCase = Callable[[CaseRecord, Mapping[str, Answer]], None]

# Segmenters that answer with a mask give 0 or 1.
_OF_A_MASK = 0.5


def evaluate_predictions(
    records: Iterable[CaseRecord],
    segmenters: Mapping[str, CaseSegmenter],
    *,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    postprocessing: Mapping[str, Mapping[str, Postprocessing]] | None = None,
    on_case: OnCase | None = None,
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM,
    jobs: int = 1,
) -> dict[str, dict[str, list[CaseScore]]]:
    """Scores every segmenter on every record, on the patient's own grid.

    Ignored voxels count in no score: they are removed from truth and prediction.

    Segmenters run one after another in the calling thread. Other threads resample the masks to the patient's grid and
    score them, in compiled code that releases the GIL.

    Args:
        records: labelled, read once; at most ``jobs + 1`` are in memory at the same time.
        segmenters: by row name. A segmenter answers None if the record lacks an image. The record is then not scored
            in that row.
        thresholds: on the probability, by row name and class; {} for exclusive classes. Other rows use 0.5.
        postprocessing: of the masks, by row name and class. Other masks are not post-processed.
        on_case: called after each patient, in the records' order, with the record and its answers by row name.
        surface_tolerance_mm: of the surface DSC.
        jobs: masks that are scored at the same time.

    Returns:
        By row name and class, the scores in the records' order. Rows may have different numbers of patients. The
        scores do not depend on `jobs`.

    Raises:
        UserError: a record has no label, or a segmenter's answer is not finite.
        RuntimeError: scoring failed; it names the case and the row.
        MemoryError: memory ran out; `errors.doing` names the case.
    """
    results: dict[str, dict[str, list[CaseScore]]] = {name: {} for name in segmenters}
    waiting: collections.deque[tuple[CaseRecord, dict[str, Future]]] = collections.deque()

    def answered(name: str, probabilities: np.ndarray, record: CaseRecord) -> Answer:
        labels = record.labels
        cuts = (thresholds or {}).get(name, dict.fromkeys(labels.names, _OF_A_MASK))
        steps = (postprocessing or {}).get(name, {})
        try:
            seen, ignored = _masks(probabilities, record, cuts), labels.ignored(record.native_label)
            scores = {}
            for number, (class_name, mask) in enumerate(native_masks(probabilities, record, cuts, steps)):
                if ignored is not None:
                    mask[ignored] = 0
                if steps.get(class_name, NONE) != NONE:
                    seen[number] = resample_mask(mask, record.native_grid, record.grid) != 0
                scores[class_name] = score(
                    record.case_id,
                    mask,
                    labels.mask(record.native_label, class_name),
                    record.native_grid,
                    surface_tolerance_mm=surface_tolerance_mm,
                )
            return Answer(probabilities, seen, scores)
        except (UserError, MemoryError):
            raise
        except Exception as error:
            raise RuntimeError(f"case {record.case_id} could not be scored for '{name}': {error}") from error

    def finish_first() -> None:
        record, futures = waiting.popleft()
        with doing(f"scoring case {record.case_id}"):
            answers = {name: future.result() for name, future in futures.items()}
        for name, answer in answers.items():
            for class_name, class_score in answer.scores.items():
                results[name].setdefault(class_name, []).append(class_score)
        if on_case is not None:
            on_case(record, answers)

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="score")
    try:
        for record in records:
            drawn = segmented(record, segmenters)
            futures = {name: pool.submit(answered, name, soft, record) for name, soft in drawn.items()}
            waiting.append((record, futures))
            if len(waiting) > jobs:
                finish_first()
        while waiting:
            finish_first()
    finally:
        # After an error or Ctrl-C, waiting masks are not scored.
        pool.shutdown(cancel_futures=True)
    return results


def _masks(probabilities: np.ndarray, record: CaseRecord, thresholds: Mapping[str, float]) -> np.ndarray:
    """The masks on the network's grid without ignored voxels, bool of the shape of `probabilities`."""
    if thresholds:
        masks = np.stack(
            [soft >= np.float32(thresholds[class_name]) for class_name, soft in zip(record.labels.names, probabilities)]
        )
    else:
        masks = record.labels.masks(largest_class(probabilities)) != 0
    ignored = record.labels.ignored(record.label)
    return masks if ignored is None else masks & ~ignored


def segmented(record: CaseRecord, segmenters: Mapping[str, CaseSegmenter]) -> dict[str, np.ndarray]:
    """The probabilities of a labelled record by row name, without the rows whose segmenter returns None.

    Raises:
        UserError: the record has no label, or a probability is not finite.
    """
    if record.native_label is None:
        raise UserError(f"case {record.case_id} has no label", remedy="Choose a partition with labels")
    with doing(f"segmenting case {record.case_id}"):
        answers = {name: segmenter(record) for name, segmenter in segmenters.items()}
    drawn = {name: probabilities for name, probabilities in answers.items() if probabilities is not None}
    for name, probabilities in drawn.items():
        # NaN >= 0.5 is False: the mask of a broken network would be empty, without an error.
        if not np.all(np.isfinite(probabilities)):
            raise UserError(
                f"'{name}' gave probabilities that are not finite for case {record.case_id}",
                remedy="The network is broken: train it again",
            )
    return drawn
