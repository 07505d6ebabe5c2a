"""Cross-validation: every patient with a label outside test is a validation patient once; the test patients stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from semicml_tf.conversion.splitting.split import EXCLUDED, Split, checked
from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class FoldPlan:
    """The number of folds, the validation fold, and the number of labelled patients.

    Attributes:
        number: number of folds.
        fold: number of the validation fold, from 0.
        labelled: number of labelled patients in the other folds; None means all of them.
    """

    number: int
    fold: int
    labelled: int | None

    def check(self, patients: int, *, stratified: bool) -> None:
        """Checks the plan for `patients` patients with labels outside test.

        Raises:
            UserError: the numbers do not fit, or stratified folds would open the label of a patient who is
                unlabelled.
        """
        if not 2 <= self.number <= patients:
            raise UserError(
                f"expected --folds from 2 to {patients}, the number of patients with a label outside test, "
                f"got {self.number}"
            )
        check_number(self.fold, self.number)
        largest = -(-patients // self.number)
        if self.labelled is not None and self.labelled > patients - largest:
            raise UserError(
                f"expected at most {patients - largest} labelled patients beside a fold of {largest}, "
                f"got {self.labelled}",
                remedy="Label fewer, or pass --labelled_fraction=1 to label all that are left in each fold",
            )
        if stratified and self.labelled is not None:
            raise UserError(
                "stratified folds look at every lesion outside test, also at those of patients who are unlabelled in "
                "a fold",
                remedy="Pass --labelled_fraction=1 to label all of them, or leave out --stratify",
            )

    def parts(
        self, folds: Sequence[Sequence[str]], rank: Callable[[str], object]
    ) -> tuple[list[str], list[str], list[str]]:
        """Validation, labelled and spare patients; the labelled are the first by `rank`."""
        others = (patients for number, patients in enumerate(folds) if number != self.fold)
        rest = sorted((name for patients in others for name in patients), key=rank)
        labelled = len(rest) if self.labelled is None else self.labelled
        return list(folds[self.fold]), rest[:labelled], rest[labelled:]


def check_number(fold: int, number: int) -> None:
    """Raises UserError if there is no fold `fold` among `number`, counted from 0."""
    if not 0 <= fold < number:
        raise UserError(f"expected --fold from 0 to {number - 1}, got {fold}")


def with_fold(split: Split, fold: int, rank: Callable[[str], object]) -> Split:
    """The split with another of its folds as validation fold.

    Args:
        split: a split with folds.
        fold: number of the validation fold.
        rank: sort key of the patients: `sampling.rank` of the split's seed.

    Raises:
        UserError: the split has no folds, or not so many.
    """
    if not split.folds:
        raise UserError("--fold needs a split with folds, and this one has none", remedy="Draw it with --folds=K")
    check_number(fold, len(split.folds))
    plan = FoldPlan(len(split.folds), fold, split.labelled_in_a_fold)
    validation, labelled, spare = plan.parts(split.folds, rank)
    members = {name for patients in split.folds for name in patients}
    parts = {
        "test": split["test"],
        "validation": validation,
        "labelled": labelled,
        "unlabelled": [*(name for name in split["unlabelled"] if name not in members), *spare],
    }
    excluded = set(split[EXCLUDED])
    kept = {name: [patient for patient in patients if patient not in excluded] for name, patients in parts.items()}
    body = {**split.to_json(), **kept, "fold": fold}
    del body["hash"]
    return checked(body)
