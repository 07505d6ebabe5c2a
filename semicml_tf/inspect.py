"""Shows what a converted dataset or one of its shards holds, and checks that it is as it was written.

    python -m semicml_tf.inspect data/sts                                  a dataset's folder
    python -m semicml_tf.inspect data/sts/test-00000-of-00001.tfrecord     one shard
    python -m semicml_tf.inspect s3://bucket/sts                           a dataset at a URL, through the local cache
    python -m semicml_tf.inspect data/sts --case=STS_001 --output=look     one case back to NIfTI

Every record is read: its checksums, the shard's SHA-256 and dataset.json's hash are compared, and what a record
holds with what dataset.json says of it. Anything wrong is listed with file, record and byte; the command then fails.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError, printable_lines
from semicml_tf.storage import access, cache
from semicml_tf.storage import url as urls
from semicml_tf.system import atomic_files, json_files

POSITIONAL = ("path",)
_REMEDY = "Convert the data again, or copy the folder anew"


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_string("path", None, "Folder or URL of a dataset, or one .tfrecord file.", flag_values=values)
    flags.DEFINE_bool(
        "check", True, "Read every record; --nocheck shows what dataset.json says, at once.", flag_values=values
    )
    flags.DEFINE_bool("list", False, "A line for each case of a dataset, too.", flag_values=values)
    flags.DEFINE_bool(
        "cards",
        False,
        "A line for each case of a dataset with its spacing, intensities and lesion.",
        flag_values=values,
    )
    flags.DEFINE_string("json", None, "Write all that is shown, and each case, to this JSON file.", flag_values=values)
    flags.DEFINE_string(
        "case",
        None,
        "Write this case to --output as NIfTI: images in native units (what lay outside the normalisation's window "
        "comes back as its end) and label on the record's grid, the label as it was drawn on the patient's own.",
        flag_values=values,
    )
    flags.DEFINE_string("output", None, "Folder for the files of --case.", flag_values=values)
    flags.DEFINE_string(
        "cache_dir",
        None,
        f"Folder of shards fetched from a URL; else ${cache.VARIABLE}, else ~/.cache/semicml_tf.",
        flag_values=values,
    )
    flags.DEFINE_bool("overwrite", False, "Replace files of --case that are in --output.", flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Shows, checks, or writes a case."""
    if not values.path:
        raise UserError("expected the folder of a dataset or a .tfrecord file", remedy="See --help")
    if bool(values.case) != bool(values.output):
        raise UserError("expected --case and --output together", remedy="Pass both, or neither")
    if not urls.is_remote(values.path) and not os.path.exists(values.path):
        raise UserError("there is no such file or folder", path=values.path, remedy="Check the path")
    if urls.is_remote(values.path) and values.path.endswith(".tfrecord"):
        raise UserError("expected a dataset's URL, got a shard's", path=values.path, remedy="Name its folder")
    is_dataset = urls.is_remote(values.path) or pathlib.Path(values.path).is_dir()
    if values.case:
        _write_case(is_dataset, values)
    elif is_dataset:
        _dataset(values)
    else:
        _shard(pathlib.Path(values.path), values)


def _load(values: flags.FlagValues):
    from semicml_tf.records.dataset import DatasetInfo

    return DatasetInfo.load(values.path, dataset_access="cache", cache_dir=values.cache_dir)


def _fetch(info, names: Sequence[str]) -> None:
    """Of a dataset at a URL, brings the shards into the cache."""
    if info.url:
        cache.fetch(info.url, {name: info.shard_sha256.get(name, "") for name in names}, info.root)


def _write_case(is_dataset: bool, values: flags.FlagValues) -> None:
    from semicml_tf.records import shards, to_nifti

    if is_dataset:
        info = _load(values)
        entries = [case for held in info.partitions.values() for case in held]
        chosen = [case for case in entries if case.case_id == values.case]
        if not chosen:
            raise _no_such_case(values.case, [case.case_id for case in entries], info.location)
        _fetch(info, [chosen[0].shard])
        (record,) = shards.read_cases(info, chosen[:1])
    else:
        record = _from_shard(pathlib.Path(values.path), values.case)
    names = to_nifti.write_case(values.output, record, overwrite=values.overwrite)
    print(printable_lines(f"{values.output}: {', '.join(names)}"))
    for name, constants in record.constants.items():
        print(f"note: {name} is clipped to [{constants.low:g}, {constants.high:g}]; what lay outside is not kept")
    if record.full_grid.shape != record.grid.shape:
        print(
            f"note: the record holds {_by(record.grid.shape)} of {_by(record.full_grid.shape)} voxels, the body's box"
        )


def _from_shard(path: pathlib.Path, case_id: str):
    from semicml_tf.records import case_record, tfrecord_file

    names = []
    with open(path, "rb") as stream:
        for found in tfrecord_file.scan(stream):
            if found.damage:  # the case may still lie behind it
                continue
            record = case_record.decode(found.content, path=str(path))
            if record.case_id == case_id:
                return record
            names.append(record.case_id)
    raise _no_such_case(case_id, names, path)


def _no_such_case(case_id: str, names: Sequence[str], path: str | pathlib.Path) -> UserError:
    import difflib

    near = difflib.get_close_matches(case_id, names, n=1)
    remedy = f"Meant may be {near[0]}" if near else "Pass --list to see the cases"
    return UserError(f"expected one of {len(names)} cases, got '{case_id}'", path=path, remedy=remedy)


def _dataset(values: flags.FlagValues) -> None:
    from semicml_tf.records import case_cards, check, inspection
    from semicml_tf.records.dataset import FILE_NAME, Origin

    if values.cards and urls.is_remote(values.path):
        raise UserError("--cards reads a folder, got a URL", path=values.path, remedy="Fetch cards.json from it")
    info = _load(values)
    names = check.shard_names(info)
    problems, checked = check.check_entries(info), []
    if values.check:
        _fetch(info, names)
        checked = _check([info.root / name for name in names], info)
        problems += [problem for shard in checked for problem in shard.problems]
    text = access.read_index(info.url) if info.url else (info.root / FILE_NAME).read_bytes()
    origin = json_files.parse(text, Origin, what="a converted dataset", path=info.location)
    made = {key: value for key, value in origin.items() if key in Origin.__annotations__}
    print(printable_lines(inspection.of_dataset(info, checked, made)), end="")
    if values.list:
        print(printable_lines(inspection.list_of_entries(info, checked)), end="")
    cards = case_cards.load(info.root) if values.cards else []
    if cards:
        print(printable_lines(case_cards.table(cards)), end="")
    unlisted = [] if info.url else sorted({file.name for file in info.root.glob("*.tfrecord")} - set(names))
    for name in unlisted:
        print(printable_lines(f"note: {name} lies in the folder, but {FILE_NAME} does not name it"))
    body = {"kind": "dataset", "path": values.path, **inspection.as_data(info), "made": made, "not_listed": unlisted}
    if cards:
        body["cards"] = cards
    _finish(values.path, body, checked, problems, values)


def _shard(path: pathlib.Path, values: flags.FlagValues) -> None:
    from semicml_tf.records import inspection
    from semicml_tf.records.dataset import FILE_NAME, DatasetInfo

    info = None
    if (path.parent / FILE_NAME).is_file():
        info = DatasetInfo.load(path.parent)
        info = info if path.name in info.shard_sha256 else None
    if info is None:
        inspection.check_ours(path)
    checked = _check([path], info)
    print(printable_lines(inspection.of_shard(path, checked[0], beside=info is not None)), end="")
    print(printable_lines(inspection.list_of_cases(checked)), end="")
    _finish(path, {"kind": "shard", "path": str(path)}, checked, list(checked[0].problems), values)


def _check(paths: Sequence[pathlib.Path], info) -> list:
    import tqdm

    from semicml_tf.records import check

    size = sum(path.stat().st_size for path in paths if path.is_file())
    # Hidden where nobody watches (disable=None).
    with tqdm.tqdm(total=size, desc="reading", unit="B", unit_scale=True, leave=False, disable=None) as bar:
        return [check.check_shard(path, info, progress=bar.update) for path in paths]


def _finish(path, body: dict, checked: Sequence, problems: Sequence, values: flags.FlagValues) -> None:
    """Writes --json, tells what is wrong, and fails if anything is."""
    if values.json:
        shards = [
            {"file": shard.file, "bytes": shard.bytes, "sha256": shard.sha256, "sound": not shard.problems}
            for shard in checked
        ]
        cases = [dataclasses.asdict(case) for shard in checked for case in shard.cases]
        told = [dataclasses.asdict(problem) for problem in problems]
        checks = {"checked": bool(values.check), "shards": shards, "cases": cases, "problems": told}
        atomic_files.write_json(values.json, {**body, **checks})
    for problem in problems:
        print(printable_lines(f"PROBLEM {problem}"))
    if problems:
        files = len({problem.file for problem in problems})
        more = "" if len(problems) == 1 else f", and {len(problems) - 1} more in {files} file{'s' if files > 1 else ''}"
        raise UserError(f"not as it was written: {problems[0]}{more}", path=path, remedy=_REMEDY)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    commandline.run("semicml_tf.inspect")
