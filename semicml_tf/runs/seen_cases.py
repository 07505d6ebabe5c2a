"""Whom a run has seen, as run.json says: whether it may be trained further, or scored, on data that have grown."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.system import json_files

_TRAINING = ("labelled", "unlabelled")
_SPLIT_FILE = "split.json"
_NAMED = 8  # patients in a message
_FORM = ("spacing_mm", "normalisation", "label_values", "labels", "crop")
_WHAT = "a run's folder"


@dataclasses.dataclass(frozen=True)
class SeenData:
    """The data of a run, under `data` in run.json.

    Attributes:
        trained_on, validated_on: names of cases, and of patients where the split names patients; also those of the run
            that this one began with.
        spacing_mm, normalisation, label_values, crop: of the dataset.
        labels: its target in words; "" if it is plain.
    """

    trained_on: tuple[str, ...]
    validated_on: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    normalisation: dict[str, str]
    label_values: tuple[int, ...]
    crop: str
    labels: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class _RunFile:
    dataset: str
    data_hash: str
    data: SeenData | None = None
    initial_run: str | None = None


_Split = dict[str, Any]


def _names(info: DatasetInfo, *partitions: str) -> set[str]:
    """Names of the cases in the partitions and of their patients, who may have several studies."""
    names = {case.case_id for name in partitions for case in info.partitions.get(name, ())}
    names |= {info.patients[case] for case in names & info.patients.keys()}
    path = info.root / _SPLIT_FILE
    if not info.url and path.is_file():
        split: Mapping[str, Any] = json_files.read(path, _Split, what="a split")
        names |= {one for name in partitions for one in split.get(name, ()) if isinstance(one, str)}
    return names


def seen(info: DatasetInfo, initial: Iterable[run_folder.Run] = ()) -> SeenData:
    """What a training on `info` sees, together with what the runs saw that it begins with.

    Raises:
        UserError: it is not known what a run of `initial` saw.
    """
    trained, validated = _names(info, *_TRAINING), _names(info, "validation")
    for run in initial:
        before = of_run(run, info)
        trained |= set(before.trained_on)
        validated |= set(before.validated_on)
    return SeenData(
        trained_on=tuple(sorted(trained)),
        validated_on=tuple(sorted(validated)),
        spacing_mm=tuple(info.spacing_mm),
        normalisation={name: str(how) for name, how in info.normalisation.items()},
        label_values=info.labels.values,
        crop=info.crop,
        labels="" if info.labels.is_plain else info.labels.described(),
    )


def of_run(run: run_folder.Run, info: DatasetInfo) -> SeenData:
    """What a run saw, by its run.json; of a run of an earlier version, by its data if they are `info` or still exist.

    Raises:
        UserError: it is not known what the run saw.
    """
    path = run.folder / run_folder.FILE_NAME
    body = json_files.read(path, _RunFile, what=_WHAT)
    if body.data is not None:
        return body.data
    initial = [run_folder.Run.load(body.initial_run)] if body.initial_run else []
    if info.data_hash == body.data_hash:
        return seen(info, initial)
    try:
        own = DatasetInfo.load(body.dataset)
    except UserError:
        own = None
    if own is None or own.data_hash != body.data_hash:
        raise UserError(
            "it is not known whom this run of an earlier version was trained on: its data are gone or changed",
            path=path,
            remedy=f"Put its data back ({body.dataset}), or choose another run",
        )
    return seen(own, initial)


def union(pairs: Iterable[tuple[run_folder.Run, DatasetInfo]]) -> SeenData:
    """What several runs saw together, each with its own dataset; the form of the data is that of the first run.

    Raises:
        UserError: it is not known what a run saw.
    """
    each = [of_run(run, info) for run, info in pairs]
    return dataclasses.replace(
        each[0],
        trained_on=tuple(sorted({name for one in each for name in one.trained_on})),
        validated_on=tuple(sorted({name for one in each for name in one.validated_on})),
    )


def check(run: run_folder.Run, info: DatasetInfo, scored: Collection[str] = ("validation", "test")) -> None:
    """Refuses a run that has seen patients who are scored now, or that reads other images.

    Args:
        run: to begin with, or to score.
        info: the data to use, which may be the run's own, or have grown.
        scored: partitions of these data whose patients the run must not have seen.

    Raises:
        UserError: the cases are made in another way; a patient was trained on who is in one of the partitions; or
            validated on who is tested on now.
    """
    for what, before, now in differences(run, info):
        raise UserError(
            f"expected data with the {what} of the run {run.folder}, {before}, got {now}",
            path=info.location,
            remedy="Convert these data with the flags of the run's data, or choose another run",
        )
    check_patients(run, info, scored)


def differences(run: run_folder.Run, info: DatasetInfo, facts: Sequence[str] = _FORM) -> list[tuple[str, str, str]]:
    """Facts of the cases that differ between a run's data and `info`: each with the run's value and that of `info`.

    Args:
        facts: of `SeenData`.

    Raises:
        UserError: it is not known what the run saw.
    """
    if run.data_hash == info.data_hash:
        return []
    before, now = of_run(run, info), seen(info)
    pairs = ((what, getattr(before, what), getattr(now, what)) for what in facts)
    return [(what, _plain(theirs), _plain(ours)) for what, theirs, ours in pairs if theirs != ours]


def check_patients(run: run_folder.Run, info: DatasetInfo, scored: Collection[str] = ("validation", "test")) -> None:
    """Refuses a run that has seen patients who are scored now; see `check`.

    Raises:
        UserError: a patient was trained on who is in one of the partitions, or validated on who is tested on now.
    """
    if run.data_hash == info.data_hash:
        return
    before = of_run(run, info)
    leaked = set(before.trained_on) & _names(info, *scored)
    if "test" in scored:
        leaked |= set(before.validated_on) & _names(info, "test")
    if leaked:
        more = f" and {len(leaked) - _NAMED} more" if len(leaked) > _NAMED else ""
        raise UserError(
            f"this run has seen patients who are scored in these data: {', '.join(sorted(leaked)[:_NAMED])}{more}",
            path=run.folder,
            remedy="Convert these data with --keep_split=FILE, the split.json of the run's data, or choose another run",
        )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return value or "one target" if isinstance(value, str) else ",".join(f"{one:g}" for one in value)
