"""The folds of a cross-validation: each patient with a label is tested once per seed.

A seed orders the patients and divides them into folds. In fold k, the patients of fold k are tested. The patients of
the next fold are for validation. Of the others, the first patients in the seed's order are labelled, and the rest are
unlabelled. Patients without a label in the dataset are unlabelled in every fold.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from annotated_types import MinLen

from semicml_tf.conversion import view
from semicml_tf.conversion.splitting import sampling
from semicml_tf.conversion.splitting.split import Split, checked
from semicml_tf.errors import UserError
from semicml_tf.experiments import splits
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import LABELLED_PARTITIONS
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import json_files

_VOLUME = "lesion/volume_ml"
_REMEDY = 'Expected is a JSON list of folds, each a list of patients: [["P1", "P2"], ["P3", "P4"]]'


@dataclasses.dataclass(frozen=True)
class People:
    """The patients of a dataset.

    Attributes:
        labelled: patients with a label, sorted.
        unlabelled: the others, sorted.
        incomplete: patients who lack a modality in one of their studies.
        lesion_ml: the largest lesion volume of each labelled patient, in ml; {} if it was not read.
    """

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    incomplete: frozenset[str] = frozenset()
    lesion_ml: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, info: DatasetInfo, *, with_volumes: bool) -> People:
        """Reads the patients of a dataset.

        Args:
            info: of the dataset.
            with_volumes: whether to read `lesion_ml`.

        Raises:
            UserError: the dataset lacks the patients of its studies, or the lesion volumes.
        """
        patient_of = view.patients_of(info)
        by_partition = {name: {patient_of[case.case_id] for case in cases} for name, cases in info.partitions.items()}
        labelled = set().union(*(by_partition.get(name, ()) for name in LABELLED_PARTITIONS))
        incomplete = {
            patient_of[case.case_id]
            for cases in info.partitions.values()
            for case in cases
            if len(info.modalities_of(case)) < len(info.modalities)
        }
        volumes: dict[str, float] = {}
        for card in case_cards.load(info.root) if with_volumes else ():
            patient = patient_of.get(card[case_cards.CASE])
            if patient in labelled and _VOLUME in card:
                volumes[patient] = max(volumes.get(patient, 0.0), card[_VOLUME])
        unlabelled = sorted(by_partition.get("unlabelled", ()))
        return cls(tuple(sorted(labelled)), tuple(unlabelled), frozenset(incomplete), volumes)


@dataclasses.dataclass(frozen=True)
class Folds:
    """Divides patients into folds.

    Attributes:
        number: of folds.
        stratified: whether all folds get about the same lesion volumes.
        validation_patients: number of validation patients; None means all patients of the next fold.
        given: the folds of a file; () if each seed draws new folds.
    """

    number: int
    stratified: bool = False
    validation_patients: int | None = None
    given: tuple[tuple[str, ...], ...] = ()

    def sizes(self, patients: int) -> tuple[int, ...]:
        """Number of patients in each fold, for a number of patients with a label."""
        if self.given:
            return tuple(map(len, self.given))
        return tuple(len(range(fold, patients, self.number)) for fold in range(self.number))

    def pool(self, fold: int, patients: int) -> int:
        """Number of patients who may be labelled in a fold."""
        sizes = self.sizes(patients)
        validation = self.validation_patients
        return sum(sizes) - sizes[fold] - (sizes[(fold + 1) % self.number] if validation is None else validation)

    def check(self, patients: int, labelled: Collection[str]) -> None:
        """Checks the folds for a number of patients with a label.

        Args:
            patients: their number.
            labelled: numbers of labelled patients as text, or "all".

        Raises:
            UserError: there are more folds than patients, or too few patients to train on.
        """
        if not self.given and self.number > patients:
            raise UserError(
                f"expected --folds from 2 to {patients}, the number of patients with a label, got {self.number}",
                remedy="Lower --folds, or label more patients",
            )
        for fold in range(self.number):
            pool = self.pool(fold, patients)
            needed = max([1, *(int(text) for text in labelled if text.isdecimal())])
            if pool < needed:
                raise UserError(
                    f"expected at least {needed} patients beside those for test and validation, got {max(pool, 0)} in "
                    f"fold {fold} ({patients} patients with a label, {self.number} folds)",
                    remedy="Change --folds, lower --labelled_patients, or pass --validation_patients",
                )

    def deal(self, people: People, seed: int) -> tuple[tuple[str, ...], ...]:
        """The patients of each fold, for a seed.

        Raises:
            UserError: the folds of the file do not have the patients of the dataset.
        """
        if self.given:
            _check_given(self.given, people)
            return self.given
        order = splits.order_of(people.labelled, seed, people.incomplete)
        if not self.stratified:
            return tuple(tuple(order[fold :: self.number]) for fold in range(self.number))
        counts = {str(fold): size for fold, size in enumerate(self.sizes(len(order)))}
        return tuple(map(tuple, sampling.stratified_groups(order, counts, people.lesion_ml, {}).values()))

    def split(self, people: People, seed: int, fold: int, labelled: str) -> Split:
        """The split of a fold.

        Args:
            people: of the dataset.
            seed: of the order of patients.
            fold: the number of the fold that is tested, from 0.
            labelled: number of labelled patients, or "all".

        Raises:
            UserError: there are too few patients; see `check` and `deal`.
        """
        self.check(len(people.labelled), (labelled,))
        dealt = self.deal(people, seed)
        place = {name: number for number, name in enumerate(splits.order_of(people.labelled, seed, people.incomplete))}
        others = [
            name
            for step in range(1, self.number)
            for name in sorted(dealt[(fold + step) % self.number], key=place.__getitem__)
        ]
        count = len(dealt[(fold + 1) % self.number]) if self.validation_patients is None else self.validation_patients
        rest = sorted(others[count:], key=place.__getitem__)
        number = splits.number_of(labelled, len(rest))
        return checked(
            {
                "labelled": rest[:number],
                "unlabelled": [*people.unlabelled, *rest[number:]],
                "validation": others[:count],
                "test": dealt[fold],
            }
        )


def read(path: str | os.PathLike) -> tuple[tuple[str, ...], ...]:
    """Reads a file of folds.

    Raises:
        UserError: the file is not a list of at least two lists of names, or a patient is in two folds.
    """
    given = json_files.read(
        path,
        Annotated[tuple[Annotated[tuple[str, ...], MinLen(1)], ...], MinLen(2)],
        what="the folds of a cross-validation",
        remedy=_REMEDY,
        max_bytes=json_files.MAX_BYTES_OF_CASES,
    )
    homes: dict[str, int] = {}
    for number, names in enumerate(given):
        for name in names:
            if name in homes:
                raise UserError(
                    f"patient {name} is in two folds, {homes[name]} and {number}"
                    if homes[name] != number
                    else f"patient {name} is twice in fold {number}",
                    path=path,
                    remedy="Name each patient once",
                )
            homes[name] = number
    return given


def _check_given(given: Sequence[Sequence[str]], people: People) -> None:
    names = {name for fold in given for name in fold}
    for name in sorted(names - set(people.labelled)):
        what = "has no label in the dataset" if name in people.unlabelled else "is not in the dataset"
        raise UserError(f"patient {name} of the folds {what}", remedy="Correct --fold_file")
    for name in sorted(set(people.labelled) - names):
        raise UserError(f"patient {name} has a label, but is in no fold", remedy="Add the patient to --fold_file")
