"""Splits data that grow: when new data arrive, existing patients keep their partition.

Deliveries are read in their order. The new patients of a delivery get their partition from the delivery's own split:
the column ``partition`` of its manifest, or its split.json. Patients whom this split does not name are left out.
Without such a split, the patients of the first delivery are drawn from --split_seed, and the patients of a later one
are for training (--new_patients). The same deliveries give the same split. An input without deliveries is one delivery.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from semicml_tf.conversion.config import ALL, ConvertConfig
from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.splitting.split import EXCLUDED, Split
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import deliveries
from semicml_tf.records.case_record import PARTITIONS

# The number of the only delivery of an input without deliveries.
_ONLY = 0

# Draws a split of the cases that it is called with.
Draw = Callable[[Sequence[CaseFiles]], Split]


def choose(
    config: ConvertConfig,
    cases: Sequence[CaseFiles],
    source: pathlib.Path,
    modalities: Sequence[str],
    *,
    draw: Draw,
    privacy: Open | Hidden,
    report: Callable[[str], None],
) -> Split | None:
    """The split of all deliveries' patients; None if the first delivery has no split and none is drawn.

    Args:
        config: options of the conversion.
        cases: cases of all deliveries that are read.
        source: the folder of the deliveries.
        modalities: modalities of the dataset.
        draw: draws a split by --split_seed.
        privacy: maps names of the input to pseudonyms.
        report: prints a line.

    Raises:
        UserError: --folds or --fold is set; the split of a delivery or of --keep_split cannot be read or used.
    """
    if config.folds is not None or config.fold is not None:
        raise UserError(
            "--folds and deliveries contradict each other, as do --folds and --keep_split: partitions stay as they are",
            path=source,
        )
    home: dict[str, str] = {}  # partition by patient
    excluded: set[str] = set()
    if config.keep_split:
        _keep(privacy.rename_split(splits.read(config.keep_split)), cases, home, excluded)
    folders = deliveries.spans(source) if any(case.spans for case in cases) else {_ONLY: source}
    named: set[str] = set()  # patients whose partition the input names
    for span in sorted({span for case in cases for span in case.spans or (_ONLY,)}):
        delivered = [case for case in cases if span in (case.spans or (_ONLY,))]
        new = [case for case in delivered if case.patient not in home and not {case.patient, case.case_id} & excluded]
        split = _own_split(delivered, folders[span], privacy)
        if split is not None:
            _take(split, delivered, span, folders[span], home, excluded, report)
            named |= {case.patient for case in delivered}
        elif new and config.split_seed is not None and (not home or config.new_patients == "draw"):
            home |= {name: partition for partition, names in draw(new).items() for name in names}
        elif new and not home:
            return None
        else:
            home |= _for_training(new, modalities)
    if config.labelled_cases == ALL:
        late = [case for case in cases if home.get(case.patient) == "unlabelled" and case.patient not in named]
        home |= _for_training(late, modalities)
    present = {case.patient for case in cases}
    gone = sorted(set(home) - present)
    if gone:
        report(f"note: in the split to keep, but not in the input: {', '.join(gone)}")
    lists = {
        name: [patient for patient, partition in home.items() if partition == name and patient in present]
        for name in PARTITIONS
    }
    return splits.checked({**lists, EXCLUDED: sorted(excluded - set(home))}, cases=cases, source=source)


def _keep(former: Split, cases: Sequence[CaseFiles], home: dict[str, str], excluded: set[str]) -> None:
    """Adds the patients of the former split. Cases that were excluded and came again are no longer excluded."""
    patient_of = {case.case_id: case.patient for case in cases}
    for partition in PARTITIONS:
        home |= {patient_of.get(name, name): partition for name in former[partition]}
    again = {name for case in cases if len(case.spans) > 1 for name in (case.case_id, case.patient)}
    excluded |= set(former[EXCLUDED]) - again


def _own_split(members: Sequence[CaseFiles], folder: pathlib.Path, privacy: Open | Hidden) -> Split | None:
    """The split that comes with a delivery."""
    if any(case.partition is not None for case in members):
        return splits.from_layout(members, source=folder)
    if (folder / splits.FILE_NAME).is_file():
        return privacy.rename_split(splits.read(folder / splits.FILE_NAME))
    return None


def _take(
    own: Split,
    delivered: Sequence[CaseFiles],
    span: int,
    folder: pathlib.Path,
    home: dict[str, str],
    excluded: set[str],
    report: Callable[[str], None],
) -> None:
    """Adds the new patients of a delivery by the delivery's own split."""
    chosen, _ = splits.cases_by_partition(own, delivered, source=folder)
    known = set(home)
    other = {
        case.patient for name, members in chosen.items() for case in members if home.get(case.patient, name) != name
    }
    if other:
        place = "the input" if span == _ONLY else f"delivery {span}"
        report(f"note: patients keep their partition, though {place} names another: {', '.join(sorted(other))}")
    for partition, members in chosen.items():
        home |= {case.patient: partition for case in members if case.patient not in known}
    excluded |= set(own[EXCLUDED]) - known


def _for_training(new: Sequence[CaseFiles], modalities: Sequence[str]) -> dict[str, str]:
    return {
        patient: "labelled"
        if all(case.has_label() and case.present(modalities) == tuple(modalities) for case in studies)
        else "unlabelled"
        for patient, studies in splits.by_patient(new).items()
    }
