"""Random splits of patients from a seed, optionally stratified by lesion volume.

`draw_pool` draws the patients whose labels may be read. `assign` then gives each of these a partition. The order of
the draw is a hash of the seed and the patient's name, which no library version changes.

Patients who lack a modality are drawn like all others, except where a partition would then have too few patients with
a modality, or with all modalities.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from semicml_tf.conversion.splitting.folds import FoldPlan
from semicml_tf.conversion.splitting.split import LESION_SIZE, Split, by_patient, checked
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.case_record import LABELLED_PARTITIONS

# Test first, so that the test patients of a seed do not depend on the labelled fraction.
_IN_TURN = tuple(reversed(LABELLED_PARTITIONS))
# Patients with a modality that a draw keeps for a partition. Mutual terms need two labelled patients per modality.
_LEAST = {"labelled": 2, "validation": 1, "test": 1}
# Stands for all modalities among those of a patient who has them.
_COMPLETE = ""


@dataclasses.dataclass(frozen=True)
class Pool:
    """The patients whose labels may be read, before they have a partition.

    Attributes:
        candidates: these patients, in the order of the draw.
        unlabelled: patients whose labels are not read.
        counts: number of patients by partition: ``test``, ``validation`` and ``labelled``; with folds, only ``test``.
        fixed: partition by candidate, for candidates without whom a partition could have too few patients of a
            modality; empty if no candidate lacks a modality.
        seed: seed of the draw.
        plan: plan of the folds; None without folds.
    """

    candidates: tuple[str, ...]
    unlabelled: tuple[str, ...]
    counts: Mapping[str, int]
    fixed: Mapping[str, str]
    seed: int
    plan: FoldPlan | None = None


def rank(seed: int, key: Callable[[str], str] = str) -> Callable[[str], str]:
    """The sort key of the draw: maps a name to a hash of the seed and ``key(name)``."""
    return lambda name: hashlib.sha256(f"{seed}/{key(name)}".encode()).hexdigest()


def _counts(fractions: Mapping[str, float], labelled_cases: int | None, patients: int) -> dict[str, int]:
    """The number of patients by partition, out of `patients` with a label."""
    fractions = {name: share for name, share in fractions.items() if name != "labelled" or labelled_cases is None}
    if any(not 0 <= share <= 1 for share in fractions.values()) or sum(fractions.values()) > 1 + 1e-9:
        received = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise UserError(f"expected fractions from 0 to 1 that sum to 1 at most, got {received}")
    if labelled_cases is not None and labelled_cases < 0:
        raise UserError(f"expected --labelled_cases of 0 or more, got {labelled_cases}")
    counts = {name: max(math.floor(share * patients + 0.5), 1) if share > 0 else 0 for name, share in fractions.items()}
    if labelled_cases is not None:
        counts["labelled"] = labelled_cases
    return {name: counts.get(name, 0) for name in _IN_TURN}


def _needs(present: Mapping[str, Collection[str]], counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """By partition, the number of patients that it needs with each modality; fewer if there are not so many.

    Args:
        present: by patient, the modalities of the patient.
        counts: number of patients by partition.
    """
    left = collections.Counter(modality for names in present.values() for modality in names)
    needs: dict[str, dict[str, int]] = {}
    for partition, least in _LEAST.items():
        needs[partition] = {name: min(least, left[name]) if counts[partition] else 0 for name in left}
        left.subtract(needs[partition])
    return needs


def _draw(present: Mapping[str, Collection[str]], counts: Mapping[str, int]) -> dict[str, list[str]]:
    """The patients of each partition: the first ones who leave enough patients of every modality for all partitions.

    Args:
        present: by patient in the order of the draw, the modalities of the patient.
        counts: number of patients by partition, in the order in which the partitions are drawn; at most all patients.
    """
    needs, order = _needs(present, counts), list(present)
    left = collections.Counter(modality for names in present.values() for modality in names)
    drawn: dict[str, list[str]] = {}
    for partition, count in counts.items():
        missing = dict(needs[partition])
        later = {name: sum(needs[one][name] for one in counts if one not in (partition, *drawn)) for name in left}
        taken: list[str] = []
        for patient in order:
            places = count - len(taken) - 1
            if places < 0:
                break
            own = present[patient]
            still = {name: max(number - (name in own), 0) for name, number in missing.items()}
            if all(still[name] <= places and left[name] - (name in own) >= later[name] + still[name] for name in left):
                taken.append(patient)
                left.subtract(own)
                missing = still
        # Too few patients of a modality: training and evaluation report it.
        others = [patient for patient in order if patient not in set(taken)][: count - len(taken)]
        for patient in others:
            left.subtract(present[patient])
        drawn[partition] = taken + others
        order = [patient for patient in order if patient not in set(drawn[partition])]
    return drawn


def _fixed(
    drawn: Mapping[str, Sequence[str]], present: Mapping[str, Collection[str]], counts: Mapping[str, int]
) -> dict[str, str]:
    """See `Pool.fixed`: in each partition, the first patients of each modality that it needs."""
    needs = _needs(present, counts)
    return {
        patient: partition
        for partition, patients in drawn.items()
        for modality, least in needs[partition].items()
        for patient in [name for name in patients if modality in present[name]][:least]
    }


def draw_pool(
    cases: Sequence[CaseFiles],
    seed: int,
    fractions: Mapping[str, float | None],
    *,
    labelled_cases: int | None = None,
    folds: int | None = None,
    fold: int = 0,
    stratify: str = "",
    modalities: Sequence[str] = (),
    incomplete: bool = True,
    key: Callable[[str], str] = str,
    source: str | os.PathLike | None = None,
) -> Pool:
    """Draws the patients whose labels may be read. Opens no file.

    Args:
        cases: all cases. A patient with a study without a label file can only be unlabelled.
        seed: seed of the draw.
        fractions: fraction of the patients with a label, by partition. Numbers are rounded to whole patients; a
            fraction above 0 gives at least one patient. All other patients are unlabelled. A ``labelled`` of None or
            1 means all remaining patients with a label. With folds, ``validation`` is ignored.
        labelled_cases: number of labelled patients, instead of their fraction.
        folds: number of folds of the patients with labels outside the test partition; None for no folds.
        fold: number of the fold whose patients are the validation partition, from 0.
        stratify: ``lesion_size`` if `assign` will get lesion volumes, else "".
        modalities: of the dataset; with (), they are not checked. For each modality, and for all together, the draw
            keeps two labelled patients, one for validation and one for test, as far as there are so many. With folds
            and a number of labelled patients, a patient without all modalities can only be a test patient or
            unlabelled: the labelled patients are then chosen for each fold.
        incomplete: whether patients without all modalities are drawn. Otherwise they are unlabelled.
        key: returns the name that a patient is drawn by. For cases with pseudonyms this is the original name, so that
            pseudonyms do not change the draw.
        source: the input, for messages.

    Raises:
        UserError: the numbers do not fit, or too few patients have a label file.
    """
    patients = by_patient(cases)
    order = sorted(patients, key=rank(seed, key))
    present = {
        name: set(modalities).intersection(*(case.present(modalities) for case in patients[name]))
        for name in order
        if all(case.has_label() for case in patients[name])
    }
    for own in present.values():
        own.update([_COMPLETE] if len(own) == len(modalities) else [])
    labels = len(present)
    if not incomplete:
        present = {name: own for name, own in present.items() if _COMPLETE in own}
    everybody = labelled_cases is None and fractions.get("labelled") in (None, 1)
    dropped = {"labelled"} if everybody else set()
    if folds is not None:
        dropped.add("validation")
    fractions = {name: share for name, share in fractions.items() if name not in dropped}
    counts = _counts(fractions, labelled_cases, len(present))
    if everybody:
        counts["labelled"] = max(len(present) - sum(counts.values()), int(folds is None))
    if len(present) < sum(counts.values()):
        raise _too_few(len(present), sum(counts.values()), len(patients), labels, source)
    drawn = _draw(present, counts)
    plan, rest = None, []
    if folds is not None:
        plan = FoldPlan(folds, fold, None if everybody else counts["labelled"])
        drawn = {"test": drawn["test"]}
        tested = set(drawn["test"])
        rest = [name for name in present if name not in tested and (everybody or _COMPLETE in present[name])]
        # The folds take turns, and share the patients who lack the same modalities.
        rest.sort(key=lambda name: [modality not in present[name] for modality in modalities])
        plan.check(len(rest), stratified=bool(stratify))
    chosen = [name for names in drawn.values() for name in names] + rest
    partial = any(_COMPLETE not in present[name] for name in chosen)
    taken = set(chosen)
    return Pool(
        candidates=tuple(chosen),
        unlabelled=tuple(name for name in order if name not in taken),
        counts={name: len(names) for name, names in drawn.items()},
        fixed=_fixed(drawn, present, counts) if partial else {},
        seed=seed,
        plan=plan,
    )


def _too_few(able: int, expected: int, patients: int, labels: int, source: str | os.PathLike | None) -> UserError:
    """The error of a draw with `able` patients, of `labels` with a label and `patients` in all."""
    lacking, remedy = "", "Lower the fractions, or add label files"
    if not labels:
        remedy = "Add label files: none exists under the names that the layout or the manifest gives"
    elif labels > able:
        lacking = f" ({labels - able} more lack a modality)"
        remedy += ", or pass --allow_missing_modality"
    problem = f"expected {expected} patients with a label to draw from, got {able} of {patients}{lacking}"
    return UserError(problem, path=source, remedy=remedy)


def assign(pool: Pool, lesion_ml: Mapping[str, float] | None = None) -> Split:
    """Gives each candidate a partition.

    Args:
        pool: the result of `draw_pool`.
        lesion_ml: lesion volume in ml by patient, for a stratified split. Every partition then gets about the same
            distribution of volumes. A candidate without a volume counts as the smallest; its case cannot be read and
            is left out later. With None, the split is not stratified.

    Raises:
        ValueError: `lesion_ml` holds none of the candidates.
    """
    if lesion_ml is not None and pool.candidates and not set(lesion_ml) & set(pool.candidates):
        raise ValueError("expected the lesions of the pool's candidates")
    groups = _in_turn(pool) if lesion_ml is None else _stratified(pool, lesion_ml)
    split: dict[str, Any] = {"seed": pool.seed, "stratify": "" if lesion_ml is None else LESION_SIZE}
    if pool.plan is None:
        return checked(split | groups | {"unlabelled": pool.unlabelled})
    folds = [groups[_fold_name(number)] for number in range(pool.plan.number)]
    place = {name: number for number, name in enumerate(pool.candidates)}
    validation, labelled, spare = pool.plan.parts(folds, place.__getitem__)
    return checked(
        split
        | {
            "test": groups["test"],
            "validation": validation,
            "labelled": labelled,
            "unlabelled": [*pool.unlabelled, *spare],
            "folds": folds,
            "fold": pool.plan.fold,
            "labelled_in_a_fold": pool.plan.labelled,
        }
    )


def _fold_name(number: int) -> str:
    return f"fold {number}"


def _in_turn(pool: Pool) -> dict[str, list[str]]:
    """Fills one partition after the other. The folds take turns."""
    groups, rest = {}, list(pool.candidates)
    for name, count in pool.counts.items():
        groups[name], rest = rest[:count], rest[count:]
    folds = range(pool.plan.number if pool.plan else 0)
    return groups | {_fold_name(number): rest[number :: len(folds)] for number in folds}


def _stratified(pool: Pool, lesion_ml: Mapping[str, float]) -> dict[str, list[str]]:
    counts = {name: len(patients) for name, patients in _in_turn(pool).items()}
    return stratified_groups(pool.candidates, counts, lesion_ml, pool.fixed)


def draw(cases: Sequence[CaseFiles], seed: int, fractions: Mapping[str, float], **options) -> Split:
    """A split that is not stratified; see `draw_pool` for the arguments."""
    return assign(draw_pool(cases, seed, fractions, **options))


def lesion_ml_by_patient(cases: Sequence[CaseFiles], lesion_ml: Mapping[str, float]) -> dict[str, float]:
    """The largest lesion volume of each patient's studies, in ml.

    Args:
        cases: cases of the patients.
        lesion_ml: lesion volume in ml by case name. A patient without any volume is left out of the result.
    """
    largest: dict[str, float] = {}
    for patient, studies in by_patient(cases).items():
        known = [lesion_ml[case.case_id] for case in studies if case.case_id in lesion_ml]
        if known:
            largest[patient] = max(known)
    return largest


def stratified_groups(
    candidates: Sequence[str], counts: Mapping[str, int], lesion_ml: Mapping[str, float], fixed: Mapping[str, str]
) -> dict[str, list[str]]:
    """Assigns candidates to groups of given sizes, stratified by lesion volume.

    Candidates are sorted by volume and cut into as many strata as the smallest group has members. Every group gets
    its share of each stratum.

    Args:
        candidates: patients in random order. This order is the only source of randomness.
        counts: size by group. The sizes sum to the number of candidates.
        lesion_ml: lesion volume in ml by candidate. A missing volume counts as 0.
        fixed: group by candidate, for candidates that can be in one group only.

    Returns:
        The candidates by group.
    """
    groups: dict[str, list[str]] = {name: [] for name in counts}
    for name, group in fixed.items():
        groups[group].append(name)
    place = {name: number for number, name in enumerate(candidates) if name not in fixed}
    by_size = sorted(place, key=lambda name: (lesion_ml.get(name, 0.0), place[name]))
    left = {group: count - len(groups[group]) for group, count in counts.items()}
    turns = _interleaved(left)
    strata = min((count for count in left.values() if count > 0), default=1)
    for number in range(strata):
        start, stop = (len(by_size) * edge // strata for edge in (number, number + 1))
        for name, group in zip(sorted(by_size[start:stop], key=place.__getitem__), turns[start:stop]):
            groups[group].append(name)
    return groups


def _interleaved(counts: Mapping[str, int]) -> list[str]:
    """The groups' names, each as often as the group has members, spread as evenly as possible."""
    total, given, turns = sum(counts.values()), dict.fromkeys(counts, 0), []
    for number in range(1, total + 1):
        # The group that is furthest behind its share is next.
        group = max(counts, key=lambda name: counts[name] * number - given[name] * total)
        given[group] += 1
        turns.append(group)
    return turns
