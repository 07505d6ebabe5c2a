"""Whom a run has seen, as run.json says: whether it may be trained further, or scored, on data that have grown."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.system import json_files

_TRAINING = ("labelled", "unlabelled")
_SPLIT_FILE = "split.json"
_NAMED = 8  # patients in a message
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


_Split = dict[str, Any]


def _names(info: DatasetInfo, *partitions: str) -> set[str]:
    """Names of the cases in the partitions, and what the split calls them: a patient's name stands for all studies."""
    names = {case.case_id for name in partitions for case in info.partitions.get(name, ())}
    path = info.root / _SPLIT_FILE
    if not info.url and path.is_file():
        split: Mapping[str, Any] = json_files.read(path, _Split, what="a split")
        names |= {one for name in partitions for one in split.get(name, ()) if isinstance(one, str)}
    return names


def seen(info: DatasetInfo, initial: run_folder.Run | None) -> SeenData:
    """What a training on `info` sees, together with what the run saw that it begins with.

    Raises:
        UserError: it is not known what `initial` saw.
    """
    before = None if initial is None else _of_run(initial, info)
    trained, validated = _names(info, *_TRAINING), _names(info, "validation")
    if before is not None:
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


def _of_run(run: run_folder.Run, info: DatasetInfo) -> SeenData:
    """What run.json says; of a run of an earlier version, what its data say if they are `info` or still there."""
    path = run.folder / run_folder.FILE_NAME
    body = json_files.read(path, _RunFile, what=_WHAT)
    if body.data is not None:
        return body.data
    if info.data_hash == body.data_hash:
        return seen(info, None)
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
    return seen(own, None)


def union(pairs: Iterable[tuple[run_folder.Run, DatasetInfo]]) -> SeenData:
    """What several runs saw together, each with its own dataset; the form of the data is that of the first run.

    Raises:
        UserError: it is not known what a run saw.
    """
    each = [_of_run(run, info) for run, info in pairs]
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
    if run.data_hash == info.data_hash:
        return
    before, now = _of_run(run, info), seen(info, None)
    for what in ("spacing_mm", "normalisation", "label_values", "labels", "crop"):
        if getattr(before, what) != getattr(now, what):
            raise UserError(
                f"expected data with the {what} of the run {run.folder}, {_plain(getattr(before, what))}, got "
                f"{_plain(getattr(now, what))}",
                path=info.location,
                remedy="Convert these data with the flags of the run's data, or choose another run",
            )
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
    return value if isinstance(value, str) else ",".join(f"{one:g}" for one in value)
