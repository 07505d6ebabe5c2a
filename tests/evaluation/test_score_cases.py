"""Scores of segmenters that return the truth, after resampling to the patient's own grid."""

import math
import threading

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation import score_cases
from semicml_tf.evaluation.score_cases import evaluate_predictions
from semicml_tf.evaluation.scores import mean_and_sd, summarise
from semicml_tf.geometry.resample import resample
from semicml_tf.labels import LESION
from semicml_tf.postprocessing.steps import Postprocessing
from tests.support.evaluation_data import ball, oblique_grid, patient


def _truth(record):
    return resample(record.native_label, record.native_grid, record.grid, outside=0.0)[np.newaxis]


def _nothing(record):
    return np.zeros((1, *record.grid.shape), np.float32)


def _patients(spacing_mm):
    native = oblique_grid()
    labels = [ball(native, (14, 13, 7), 9.0), ball(native, (12, 15, 6), 7.0), np.zeros(native.shape, np.uint8)]
    return [patient(f"p{index}", label, native, spacing_mm=spacing_mm) for index, label in enumerate(labels)]


def test_the_truth_scores_one_on_an_oblique_grid_of_its_own_spacing():
    scores = evaluate_predictions(_patients((0.0, 0.0, 0.0)), {"truth": _truth})["truth"][LESION]
    assert [score.dice for score in scores] == [1.0, 1.0, 1.0]
    assert [score.hd95_mm for score in scores] == [0.0, 0.0, 0.0]
    assert [score.case_id for score in scores] == ["p0", "p1", "p2"]


def test_the_truth_on_another_spacing_differs_by_resampling_only():
    scores = evaluate_predictions(_patients((4.0, 2.2, 2.2)), {"truth": _truth})["truth"][LESION]
    for score in scores[:2]:
        assert 0.85 < score.dice < 1.0
        assert score.assd_mm < 0.75  # half of the smallest voxel side
    assert scores[2].outcome == "both empty"


def test_a_shifted_mask_has_the_distance_of_its_shift():
    """A transposed or flipped resampling to the native grid would give another distance."""
    record = _patients((0.0, 0.0, 0.0))[0]
    _, order, flips = record.native_grid.reordered()
    row_voxels = 4
    native_axis, sign = order[1], -1 if flips[1] else 1
    expected = np.roll(record.native_label, sign * row_voxels, axis=native_axis)
    shifted = evaluate_predictions([record], {"a": lambda r: np.roll(_truth(r), row_voxels, axis=2)})["a"][LESION][0]
    overlap = 2 * (expected & record.native_label).sum() / (2 * record.native_label.sum())
    assert shifted.dice == pytest.approx(overlap)
    assert shifted.hd95_mm == pytest.approx(row_voxels * 1.5, abs=1.5)


def test_a_missed_patient_is_counted_and_costs():
    results = evaluate_predictions(_patients((0.0, 0.0, 0.0)), {"truth": _truth, "nothing": _nothing})
    good, bad = (summarise(results[name][LESION]) for name in ("truth", "nothing"))
    assert (good["missed"], good["false_alarms"], good["cases"]) == (0, 0, 3)
    assert (bad["missed"], bad["false_alarms"], bad["cases"]) == (2, 0, 3)
    diagonal = oblique_grid().diagonal_mm
    assert bad["dice"]["mean"] == pytest.approx(1 / 3)
    assert bad["hd95_mm"]["mean"] == bad["assd_mm"]["mean"] == pytest.approx(2 / 3 * diagonal)
    # The patient without lesion has neither PPV nor sensitivity; the missed two pull both to 0.
    zero = {"mean": 0.0, "sd": 0.0, "n": 2, "median": 0.0, "interval": None}
    assert bad["ppv"] == bad["sensitivity"] == zero


def test_a_false_alarm_is_counted_and_costs():
    everything = evaluate_predictions(_patients((0.0, 0.0, 0.0)), {"all": lambda r: 1 - _nothing(r)})
    summary = summarise(everything["all"][LESION])
    assert (summary["missed"], summary["false_alarms"]) == (0, 1)
    assert summary["ppv"]["n"] == 3 and summary["sensitivity"]["n"] == 2


def test_mean_and_sample_sd():
    assert mean_and_sd([1.0, None, 3.0]) == {"mean": 2.0, "sd": pytest.approx(math.sqrt(2.0)), "n": 2}
    assert mean_and_sd([0.25]) == {"mean": 0.25, "sd": None, "n": 1}
    assert mean_and_sd([None]) == {"mean": None, "sd": None, "n": 0}
    with pytest.raises(ValueError, match="finite"):
        mean_and_sd([1.0, math.nan])


def test_nan_probabilities_are_an_error_and_not_an_empty_prediction():
    with pytest.raises(UserError, match="'ct' gave probabilities that are not finite for case p0"):
        evaluate_predictions(_patients((0.0, 0.0, 0.0)), {"ct": lambda r: np.full((1, *r.grid.shape), np.nan)})


def _shift(record):
    return np.roll(_truth(record), 2, axis=2)


def test_scores_do_not_depend_on_how_many_are_scored_at_a_time():
    def run(jobs):
        order = []
        segmenters = {"shift": _shift, "nothing": _nothing, "truth": _truth}
        found = evaluate_predictions(
            _patients((0.0, 0.0, 0.0)) * 2,
            segmenters,
            jobs=jobs,
            on_case=lambda record, answers: order.append((record.case_id, tuple(answers))),
        )
        return found, order

    alone = run(1)
    assert run(4) == alone and run(2) == alone
    assert [case for case, _ in alone[1]] == ["p0", "p1", "p2"] * 2


@pytest.mark.parametrize("spacing_mm", [(0.0, 0.0, 0.0), (4.0, 2.2, 2.2)])
def test_the_mask_that_is_shown_is_the_one_that_is_scored(spacing_mm):
    """A speck far from the lesion is shown if it is scored, and not shown if post-processing removes it."""

    def with_speck(record):
        soft = _truth(record)
        soft[:, -2:, -4:, -4:] = 0.9
        return soft

    def shown(steps):
        answers_seen = []
        scores = evaluate_predictions(
            _patients(spacing_mm)[:1],
            {"a": with_speck},
            thresholds={"a": {LESION: 0.4}},
            postprocessing={"a": {LESION: Postprocessing.parse(steps)}},
            on_case=lambda record, answers: answers_seen.append((record, answers["a"])),
        )["a"][LESION]
        ((record, answer),) = answers_seen
        assert answer.score == scores[0] and answer.masks.shape == (1, *record.grid.shape)
        return record, answer

    record, plain = shown("none")
    assert np.array_equal(plain.masks, plain.probabilities >= np.float32(0.4)) and plain.masks[0, -1, -1, -1]
    _, kept = shown("largest")
    assert not kept.masks[0, -2:, -4:, -4:].any() and kept.score.dice > plain.score.dice
    lesion = plain.masks[0].copy()
    lesion[-2:, -4:, -4:] = False
    # Brought back from the patient's grid: the same but for half covered voxels of the border.
    assert np.count_nonzero(kept.masks[0] != lesion) <= (0 if spacing_mm == (0.0, 0.0, 0.0) else 0.25 * lesion.sum())


def test_few_patients_are_in_memory_at_a_time():
    """The next record is read only after an earlier record is finished."""
    finished, ahead = [], []

    def records():
        for index, record in enumerate(_patients((0.0, 0.0, 0.0)) * 3):
            ahead.append(index - len(finished))
            yield record

    evaluate_predictions(records(), {"a": _truth}, jobs=2, on_case=lambda *case: finished.append(case))
    assert len(finished) == 9 and max(ahead) == 2


@pytest.mark.parametrize(
    ("error", "message"), [(RuntimeError, "case p0 could not be scored for 'a': no room"), (MemoryError, "no room")]
)
def test_an_error_of_a_thread_names_the_case_and_ends_the_rest(error, message, monkeypatch):
    begun = []

    def broken(case_id, *masks, **options):
        begun.append(case_id)
        raise error("no room")

    monkeypatch.setattr(score_cases, "score", broken)
    with pytest.raises(error, match=message) as caught:
        evaluate_predictions(_patients((0.0, 0.0, 0.0)) * 4, {"a": _truth}, jobs=2)
    assert error is RuntimeError or caught.value.doing == "scoring case p0"
    assert len(begun) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("score")]


def test_an_interruption_ends_the_threads():
    def interrupted(record):
        if record.case_id == "p1":
            raise KeyboardInterrupt
        return _truth(record)

    with pytest.raises(KeyboardInterrupt):
        evaluate_predictions(_patients((0.0, 0.0, 0.0)), {"a": interrupted}, jobs=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("score")]
