"""Chooses the split of a conversion: from --split, the manifest, the input's split.json, or a seed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence

from semicml_tf.conversion.config import ConvertConfig
from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.conversion.splitting import by_delivery, folds, sampling
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.splitting.split import Split
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles

_NAMED = 12  # patients in a line


class NoSplit(UserError):
    """No partitions are given for the cases."""


# Reads the masks of cases; returns lesion volumes in ml by case name.
LesionSizes = Callable[[Sequence[CaseFiles]], dict[str, float]]


def choose(
    config: ConvertConfig,
    cases: Sequence[CaseFiles],
    source: pathlib.Path,
    modalities: Sequence[str],
    *,
    lesion_ml: LesionSizes,
    privacy: Open | Hidden,
    report: Callable[[str], None],
) -> tuple[Split, str]:
    """The split, and its origin in words. Options take precedence over the splits of the input.

    Args:
        config: options of the conversion.
        cases: all cases of the input.
        source: the input.
        modalities: modalities of the dataset.
        lesion_ml: called for a stratified draw, with the cases whose labels may be read.
        privacy: maps names of the input to pseudonyms.
        report: prints a line.

    Raises:
        UserError: there is no split, or it cannot be read or drawn.
    """
    if config.keep_split or (any(case.spans for case in cases) and not config.split):
        split = by_delivery.choose(
            config,
            cases,
            source,
            modalities,
            draw=lambda new: _drawn(config, new, source, modalities, lesion_ml, privacy),
            privacy=privacy,
            report=report,
        )
        if split is None:
            raise _no_split(source)
        places = ["the deliveries"] if any(case.spans for case in cases) else []
        return split, ", and ".join([*places, *([privacy.path(config.keep_split)] if config.keep_split else [])])
    if config.split_seed is not None:
        given = _given_with(cases, source, privacy)
        if given:
            report(f"note: {given} is not used, because --split_seed draws the split")
        return _drawn(config, cases, source, modalities, lesion_ml, privacy), f"seed {config.split_seed}"
    if config.split:
        split, origin = splits.read(config.split), privacy.path(config.split)
    elif any(case.partition for case in cases):
        split, origin = splits.from_layout(cases, source=source), "the manifest's column 'partition'"
    elif (source / splits.FILE_NAME).is_file():
        path = source / splits.FILE_NAME
        split, origin = splits.read(path), f"{privacy.path(str(path))} (--split was not given)"
    else:
        raise _no_split(source)
    split = privacy.rename_split(split)
    if config.fold is not None:
        split = folds.with_fold(split, config.fold, sampling.rank(split.seed or 0, privacy.original))
        origin += f", fold {config.fold}"
    return split, origin


def _given_with(cases: Sequence[CaseFiles], source: pathlib.Path, privacy: Open | Hidden) -> str:
    """The origin of the input's split, in words; "" if the input has none."""
    if any(case.partition for case in cases):
        return "the manifest's column 'partition'"
    path = source / splits.FILE_NAME
    return privacy.path(str(path)) if path.is_file() else ""


def _no_split(source: pathlib.Path) -> NoSplit:
    return NoSplit(
        "the partitions of the cases are not given",
        path=source,
        remedy="Pass --split=FILE.json, or --split_seed=0 to draw one",
    )


def unused_labels(chosen: Mapping[str, Sequence[CaseFiles]]) -> str:
    """A line that names the unlabelled patients who have labels. `chosen`: cases by partition."""
    names = list(dict.fromkeys(case.patient for case in chosen.get("unlabelled", ()) if case.has_label()))
    line = f"labels of {len(names)} patient{'s' * (len(names) != 1)} are not used"
    if not names:
        return line
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{line}: {', '.join(names[:_NAMED])}{more} (unlabelled in the split)"


def _drawn(config: ConvertConfig, cases, source, modalities, lesion_ml: LesionSizes, privacy) -> Split:
    fractions = {
        "labelled": config.labelled_fraction,
        "validation": config.validation_fraction,
        "test": config.test_fraction,
    }
    stratify = "" if config.stratify == "none" else config.stratify
    pool = sampling.draw_pool(
        cases,
        config.split_seed,
        fractions,
        labelled_cases=config.labelled_patients,
        folds=config.folds,
        fold=config.fold or 0,
        stratify=stratify,
        modalities=modalities,
        incomplete=config.allow_missing_modality,
        key=privacy.original,
        source=source,
    )
    if not stratify:
        return sampling.assign(pool)
    candidates = [case for case in cases if case.patient in pool.candidates]
    return sampling.assign(pool, sampling.lesion_ml_by_patient(candidates, lesion_ml(candidates)))
