"""The length of an epoch that is one pass over the labelled cases, in closed form."""

import pytest

from semicml_tf.records.dataset import CaseEntry
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.training.stages import steps_per_epoch

CASES = [
    CaseEntry("a", "shard", 0, (9, 16, 17), lesion_slices=4),
    CaseEntry("b", "shard", 1, (30, 8, 8), lesion_slices=0, annotated_slices=5),
]


@pytest.mark.parametrize(
    ("window", "lesion_fraction", "inputs"),
    [
        (16, 0.5, 9 + 5),
        (16, 1.0, 4),
        ((4, 8, 8), 0.5, 3 * 2 * 3 + 2 * 1 * 1),
        ((4, 8, 8), 1.0, 1 * 2 * 3),
    ],
)
def test_a_pass_has_the_fewest_inputs_that_cover_the_slices_of_each_case(window, lesion_fraction, inputs):
    train = TrainSettings(window=window, lesion_fraction=lesion_fraction, steps_per_epoch=0, labelled_batch=1)
    assert steps_per_epoch(train, CASES) == inputs
    # The last batch of a pass is not left out.
    train = TrainSettings(window=window, lesion_fraction=lesion_fraction, steps_per_epoch=0, labelled_batch=inputs - 1)
    assert steps_per_epoch(train, CASES) == 2


def test_a_set_number_of_steps_stays_and_an_epoch_has_a_step():
    assert steps_per_epoch(TrainSettings(steps_per_epoch=7), CASES) == 7
    assert steps_per_epoch(TrainSettings(steps_per_epoch=0, lesion_fraction=1.0), CASES[1:]) == 1
