"""Flipped, transposed and shifted masks are detected; other bad masks are not."""

import numpy as np
import pytest

from semicml_tf.evaluation.external_masks.misplacement import Misplacement

SHAPE = (40, 40, 24)
CENTRES = ((10, 25, 8), (14, 30, 6), (9, 28, 15), (15, 23, 7))


def ball(centre, radius=4.0, shape=SHAPE):
    index = np.indices(shape).reshape(3, -1) - np.array(centre)[:, None]
    return (np.linalg.norm(index, axis=0) <= radius).reshape(shape)


TRUTHS = [ball(centre) for centre in CENTRES]


def cause(predictions, truths=TRUTHS):
    found = Misplacement()
    for prediction, truth in zip(predictions, truths):
        found.add(np.ascontiguousarray(prediction), truth)
    return found.cause()


CHANGES = {
    "flip of one axis": (lambda mask: mask[:, ::-1], "flipped along axis 1 "),
    "flip of two axes": (lambda mask: mask[::-1, ::-1], "flipped along axis 0 and 1"),
    "transposition": (lambda mask: mask.transpose(1, 0, 2), "in the order 1, 0, 2"),
    "turn": (lambda mask: mask.transpose(1, 0, 2)[::-1], "in the order 1, 0, 2 and they are flipped along axis"),
    "shift": (lambda mask: np.roll(mask, (5, -6, 0), (0, 1, 2)), "shifted by \\(-5, 6, 0\\) voxels"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_common_change_is_named(name):
    import re

    change, words = CHANGES[name]
    text = cause(change(truth) for truth in TRUTHS)
    assert re.search(words.rstrip(), text) and "to 1.000" in text, text


@pytest.mark.parametrize("name", CHANGES)
def test_imperfect_masks_of_one_or_two_cases_are_enough(name):
    change, words = CHANGES[name]
    smaller = [ball(centre, 3.5) for centre in CENTRES[:2]]
    assert cause([change(mask) for mask in smaller], TRUTHS[:2])


def test_the_truth_itself_and_nothing_at_all():
    assert cause(TRUTHS) is None and cause([]) is None
    assert cause([np.zeros(SHAPE, bool)] * 4) is None and cause(TRUTHS, [np.zeros(SHAPE, bool)] * 4) is None


@pytest.mark.parametrize("seed", range(5))
def test_bad_masks_are_not_called_misplaced(seed):
    noise = np.random.default_rng(seed)
    anywhere = [ball(noise.integers(4, np.array(SHAPE) - 4)) for _ in CENTRES]
    everywhere = [noise.random(SHAPE) > 0.5 for _ in CENTRES]
    too_large = [ball(centre, 11.0) for centre in CENTRES]
    assert cause(anywhere) is None and cause(everywhere) is None and cause(too_large) is None


def test_a_change_of_a_few_cases_is_none_of_all():
    assert cause([TRUTHS[0][::-1], TRUTHS[1], TRUTHS[2], TRUTHS[3]]) is None
    assert cause([TRUTHS[0][::-1], TRUTHS[1][:, ::-1], ball((20, 20, 12)), ball((5, 5, 20))]) is None


def test_large_masks_are_compared_by_a_part_of_their_voxels():
    large = [ball(np.array(centre) * 2 // 2 + 3, 9.0) for centre in CENTRES]
    text = cause([mask[::-1] for mask in large], large)
    assert "flipped along axis 0" in text
    found = Misplacement()
    found.add(np.ones((60, 60, 60), bool), np.pad(np.ones((30, 60, 60), bool), ((0, 30), (0, 0), (0, 0))))
    (case,) = found._cases
    assert len(case.points) <= 20_000
    assert next(iter(case.by_orientation.values())) == pytest.approx(2 / 3, abs=0.01)
