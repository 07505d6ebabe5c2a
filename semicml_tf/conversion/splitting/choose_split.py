"""Which split a conversion has: the user's own, the manifest's, the input's, or one drawn from a seed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.conversion.splitting import by_delivery, folds, sampling
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.splitting.split import Split
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles

_NAMED = 12  # patients in a line


class NoSplit(UserError):
    """Nothing tells which case is in which partition."""


# Volumes of the lesions by case name, of the cases that it is called with: it reads their masks.
LesionSizes = Callable[[Sequence[CaseFiles]], dict[str, float]]


def choose(
    values: flags.FlagValues,
    cases: Sequence[CaseFiles],
    source: pathlib.Path,
    modalities: Sequence[str],
    *,
    lesion_ml: LesionSizes,
    privacy: Open | Hidden,
) -> tuple[Split, str]:
    """The split and where it comes from; the user's own word goes before what lies in the input.

    Args:
        values: flags of the command.
        cases: all that the layout found.
        source: the input.
        modalities: of the dataset.
        lesion_ml: called where partitions are drawn evenly by lesion size, with the cases that get labels.
        privacy: knows the names in the input of cases that bear pseudonyms.

    Raises:
        UserError: flags contradict each other, nothing tells a split, or it cannot be read or drawn.
    """
    _check(values)
    if values.keep_split or (any(case.spans for case in cases) and not values.split):
        split = by_delivery.choose(
            values,
            cases,
            source,
            modalities,
            draw=lambda new: _drawn(values, new, modalities, lesion_ml, privacy),
            privacy=privacy,
        )
        if split is None:
            raise _no_split(source)
        places = ["the deliveries"] if any(case.spans for case in cases) else []
        return split, ", and ".join([*places, *([values.keep_split] if values.keep_split else [])])
    if values.split_seed is not None:
        return _drawn(values, cases, modalities, lesion_ml, privacy), f"seed {values.split_seed}"
    if values.split:
        split, told = splits.read(values.split), values.split
    elif any(case.partition for case in cases):
        split, told = splits.from_layout(cases, source=source), "the manifest's column 'partition'"
    elif (source / splits.FILE_NAME).is_file():
        split, told = splits.read(source / splits.FILE_NAME), f"{source / splits.FILE_NAME} (--split was not given)"
    else:
        raise _no_split(source)
    split = privacy.rename_split(split)
    if values.fold is not None:
        split = folds.with_fold(split, values.fold, sampling.rank(split.seed or 0, privacy.original))
        told += f", fold {values.fold}"
    return split, told


def _no_split(source: pathlib.Path) -> NoSplit:
    return NoSplit(
        "nothing says which case is in which partition",
        path=source,
        remedy="Pass --split=FILE.json, or --split_seed=0 to draw one",
    )


def labelled_cases(values: flags.FlagValues) -> int | None:
    """The number of patients to label; None = as the fraction says, or all.

    Raises:
        UserError: the flag is no number, or contradicts the fraction.
    """
    text = values.labelled_cases
    if text is None:
        return None
    if text == by_delivery.ALL and values.labelled_fraction is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        if text == by_delivery.ALL:
            raise UserError(
                "--labelled_cases=all and --labelled_fraction contradict each other", remedy="Pass one of them"
            )
        raise UserError(f"expected --labelled_cases=all or a number of patients from 1 on, got '{text}'")
    return int(text)


def unused_labels(chosen: Mapping[str, Sequence[CaseFiles]]) -> str:
    """The line of the summary that says whose labels nothing reads: `chosen` holds the cases by partition."""
    names = list(dict.fromkeys(case.patient for case in chosen.get("unlabelled", ()) if case.has_label()))
    line = f"labels of {len(names)} patient{'s' * (len(names) != 1)} are not used"
    if not names:
        return line
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{line}: {', '.join(names[:_NAMED])}{more} (unlabelled in the split)"


def _check(values: flags.FlagValues) -> None:
    if values.split and values.split_seed is not None:
        raise UserError("--split and --split_seed contradict each other", remedy="Pass one of them")
    if values.split and values.keep_split:
        raise UserError("--split and --keep_split contradict each other", remedy="Pass one of them")
    if values.split_seed is not None:
        if values.fold is not None and values.folds is None:
            raise UserError("--fold needs --folds where the split is drawn", remedy="Pass --folds=5, for one")
        return
    for name in ("folds", "labelled_cases", "labelled_fraction"):
        if values[name].value is not None and not (values.keep_split and values[name].value == by_delivery.ALL):
            raise UserError(f"--{name} is for a split that is drawn", remedy="Pass --split_seed=0, too")
    if values.stratify != "none":
        raise UserError("--stratify is for a split that is drawn", remedy="Pass --split_seed=0, too")


def _drawn(values, cases, modalities, lesion_ml: LesionSizes, privacy) -> Split:
    fractions = {
        "labelled": values.labelled_fraction,
        "validation": values.validation_fraction,
        "test": values.test_fraction,
    }
    stratify = "" if values.stratify == "none" else values.stratify
    pool = sampling.draw_pool(
        cases,
        values.split_seed,
        fractions,
        labelled_cases=labelled_cases(values),
        folds=values.folds,
        fold=values.fold or 0,
        stratify=stratify,
        modalities=modalities,
        key=privacy.original,
    )
    if not stratify:
        return sampling.assign(pool)
    candidates = [case for case in cases if case.patient in pool.candidates]
    return sampling.assign(pool, sampling.lesion_ml_by_patient(candidates, lesion_ml(candidates)))
