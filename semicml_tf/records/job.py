"""Shows the content of a converted dataset, and checks that it is as conversion wrote it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from semicml_tf.errors import UserError, printable_lines
from semicml_tf.records import case_cards, case_record, check, inspection, shards, tfrecord_file, to_nifti, to_nnunet
from semicml_tf.records.config import InspectConfig
from semicml_tf.records.dataset import FILE_NAME, DatasetInfo, Origin
from semicml_tf.storage import access, cache
from semicml_tf.storage import url as urls
from semicml_tf.system import atomic_files, json_files, progress


@dataclasses.dataclass(frozen=True)
class InspectResult:
    """The result of `inspect`.

    Attributes:
        path: path or URL of the dataset or shard.
        text: the result in lines.
        problems: differences from what conversion wrote, with file, record and byte; () if there are none.
        cases: the `CaseFacts` of each case that was read.
        files: names of the NIfTI files, or of the exported folder.
    """

    path: str
    text: str
    problems: tuple[check.Problem, ...] = ()
    cases: tuple[Any, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def problem(self) -> UserError | None:
        """All problems as one error; None if there are none."""
        if not self.problems:
            return None
        count, files = len(self.problems), len({problem.file for problem in self.problems})
        more = "" if count == 1 else f", and {count - 1} more in {files} file{'s' if files > 1 else ''}"
        return UserError(
            f"not as it was written: {self.problems[0]}{more}",
            path=self.path,
            remedy="Convert the data again, or copy the folder again",
        )


def inspect(config: InspectConfig) -> InspectResult:
    """Shows and checks a dataset or a shard, writes one of its cases as NIfTI, or exports it for nnU-Net.

    Returns:
        The result. Damage raises no error: `InspectResult.problems` lists it.

    Raises:
        UserError: the path is no dataset and no shard, or has no such case; an output cannot be written.
    """
    path = config.path
    if not urls.is_remote(path) and not os.path.exists(path):
        raise UserError("there is no such file or folder", path=path, remedy="Check the path")
    if urls.is_remote(path) and path.endswith(".tfrecord"):
        raise UserError("expected a dataset's URL, got a shard's", path=path, remedy="Name its folder")
    is_dataset = urls.is_remote(path) or pathlib.Path(path).is_dir()
    if config.case:
        return _write_case(is_dataset, config)
    if config.export_nnunet:
        if not is_dataset:
            raise UserError("--export_nnunet needs a dataset, got a shard", path=path, remedy="Name its folder")
        return _export_nnunet(config)
    return _dataset(config) if is_dataset else _shard(pathlib.Path(path), config)


def _load(config: InspectConfig) -> DatasetInfo:
    return DatasetInfo.load(config.path, dataset_access="cache", cache_dir=config.cache_dir)


def _fetch(info: DatasetInfo, names: Sequence[str]) -> None:
    """Fetches shards of a dataset at a URL into the cache; does nothing for a folder."""
    if info.url:
        cache.fetch(info.url, {name: info.shard_sha256.get(name, "") for name in names}, info.root)


def _write_case(is_dataset: bool, config: InspectConfig) -> InspectResult:
    if is_dataset:
        info = _load(config)
        entries = [case for members in info.partitions.values() for case in members]
        chosen = [case for case in entries if case.case_id == config.case]
        if not chosen:
            raise _no_such_case(config.case, [case.case_id for case in entries], info.location)
        _fetch(info, [chosen[0].shard])
        (record,) = shards.read_cases(info, chosen[:1])
    else:
        record = _from_shard(pathlib.Path(config.path), config.case)
    names = to_nifti.write_case(config.output, record, overwrite=config.overwrite)
    lines = [printable_lines(f"{config.output}: {', '.join(names)}")]
    for name, constants in record.constants.items():
        lines.append(f"note: {name} is clipped to [{constants.low:g}, {constants.high:g}]; other values are not kept")
    if record.full_grid.shape != record.grid.shape:
        lines.append(
            f"note: the record holds {_by(record.grid.shape)} of {_by(record.full_grid.shape)} voxels, the body's box"
        )
    return InspectResult(config.path, "\n".join(lines), files=tuple(names))


def _export_nnunet(config: InspectConfig) -> InspectResult:
    info = _load(config)
    chosen = to_nnunet.chosen_cases(info, config.modalities or info.modalities)
    _fetch(info, sorted({case.shard for cases in chosen.values() for case in cases}))
    made = to_nnunet.export(
        info, config.export_nnunet, modalities=config.modalities, source=config.input, overwrite=config.overwrite
    )
    counts = ", ".join(f"{count} {name}" for name, count in made.cases.items())
    lines = [f"{made.folder}: {counts} cases; to score masks: evaluate --mask_values={made.labels.mask_values}"]
    if not config.input:
        lines.append("note: images come from the records, resampled and clipped; --input=SOURCE takes them from files")
    for name, count in made.skipped.items():
        if count:
            lines.append(f"note: skipped {count} {name} cases: a modality is missing")
    return InspectResult(config.path, printable_lines("\n".join(lines)), files=(made.folder.name,))


def _from_shard(path: pathlib.Path, case_id: str):
    names = []
    with open(path, "rb") as stream:
        for entry in tfrecord_file.scan(stream):
            if entry.damage:  # the case may follow
                continue
            record = case_record.decode(entry.content, path=str(path))
            if record.case_id == case_id:
                return record
            names.append(record.case_id)
    raise _no_such_case(case_id, names, path)


def _no_such_case(case_id: str, names: Sequence[str], path: str | pathlib.Path) -> UserError:
    near = difflib.get_close_matches(case_id, names, n=1)
    remedy = f"Did you mean {near[0]}?" if near else "Pass --list to see the cases"
    return UserError(f"expected one of {len(names)} cases, got '{case_id}'", path=path, remedy=remedy)


def _dataset(config: InspectConfig) -> InspectResult:
    if config.cards and urls.is_remote(config.path):
        raise UserError("--cards reads a folder, got a URL", path=config.path, remedy="Fetch cards.json from it")
    info = _load(config)
    names = check.shard_names(info)
    problems, checked = check.check_entries(info), []
    if config.check:
        _fetch(info, names)
        checked = _check([info.root / name for name in names], info)
        problems += [problem for shard in checked for problem in shard.problems]
    content = access.read_index(info.url) if info.url else (info.root / FILE_NAME).read_bytes()
    origin = json_files.parse(content, Origin, what="a converted dataset", path=info.location)
    made = {key: value for key, value in origin.items() if key in Origin.__annotations__}
    text = inspection.of_dataset(info, checked, made)
    if config.list:
        text += inspection.list_of_entries(info, checked)
    cards = case_cards.load(info.root) if config.cards else []
    if cards:
        text += case_cards.table(cards)
    unlisted = [] if info.url else sorted({file.name for file in info.root.glob("*.tfrecord")} - set(names))
    for name in unlisted:
        text += f"note: {name} is in the folder, but {FILE_NAME} does not list it\n"
    body = {"kind": "dataset", "path": config.path, **inspection.as_data(info), "made": made, "not_listed": unlisted}
    if cards:
        body["cards"] = cards
    return _finish(config, text, body, checked, problems)


def _shard(path: pathlib.Path, config: InspectConfig) -> InspectResult:
    info = None
    if (path.parent / FILE_NAME).is_file():
        info = DatasetInfo.load(path.parent)
        info = info if path.name in info.shard_sha256 else None
    if info is None:
        inspection.check_is_shard(path)
    checked = _check([path], info)
    text = inspection.of_shard(path, checked[0], beside=info is not None) + inspection.list_of_cases(checked)
    return _finish(config, text, {"kind": "shard", "path": str(path)}, checked, list(checked[0].problems))


def _check(paths: Sequence[pathlib.Path], info: DatasetInfo | None) -> list:
    size = sum(path.stat().st_size for path in paths if path.is_file())
    with progress.bar(total=size, desc="reading", unit="B", unit_scale=True, leave=False) as bar:
        return [check.check_shard(path, info, progress=bar.update) for path in paths]


def _finish(config: InspectConfig, text: str, body: dict, checked: Sequence, problems: Sequence) -> InspectResult:
    """Writes the file of --json and returns the result."""
    cases = tuple(case for shard in checked for case in shard.cases)
    if config.json:
        shards_json = [
            {"file": shard.file, "bytes": shard.bytes, "sha256": shard.sha256, "sound": not shard.problems}
            for shard in checked
        ]
        checks = {
            "checked": config.check,
            "shards": shards_json,
            "cases": [dataclasses.asdict(case) for case in cases],
            "problems": [dataclasses.asdict(problem) for problem in problems],
        }
        atomic_files.write_json(config.json, {**body, **checks})
    text += "".join(f"PROBLEM {problem}\n" for problem in problems)
    return InspectResult(config.path, printable_lines(text).rstrip("\n"), tuple(problems), cases)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
