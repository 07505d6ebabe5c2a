"""The work folder beside the output: results of finished jobs, from which an interrupted conversion resumes.

    .OUTPUT.work/
        lock                     lock of the running conversion
        reports/CASE.json        the verification report of a case
        records/CASE.json        a finished case, with the key of its inputs
        records/CASE.tfrecord    its record, framed
        shards/SHARD.json        a finished shard, with the keys of its records
        dataset/                 the shards, and in the end all files of OUTPUT

A file is used only if it has the key of the job: a hash of the case's files (names and bytes), the settings and the
version. All files are written atomically, so that an interruption leaves no partial file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from typing_extensions import NotRequired, TypedDict

import semicml_tf
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.case_record import CONTRACT_VERSION
from semicml_tf.system import atomic_files, json_files, locks
from semicml_tf.system.json_files import MAX_BYTES_OF_CASES, Count, Positive


class Report(TypedDict):
    """The report of verification on a case."""

    key: str
    report: CaseReport


class Entry(TypedDict):
    """The content of a case's record, in short."""

    shape: tuple[Positive, Positive, Positive]
    modalities: list[str]
    lesion_slices: Count | None
    volume_changed: str
    lesion_lost: bool
    # Of targets that are not plain.
    class_slices: NotRequired[dict[str, Count]]
    annotated_slices: NotRequired[Count]


class Finished(TypedDict):
    """A finished case, and the size of its record in bytes."""

    key: str
    entry: Entry
    bytes: Count


class Shard(TypedDict):
    """A finished shard: keys and sizes in bytes of its records, by case."""

    key: str
    keys: dict[str, str]
    bytes: dict[str, Count]


class _Error(TypedDict):
    problem: str
    path: str | None
    remedy: str | None


class Failed(TypedDict):
    """The error of a failed job."""

    key: str
    error: _Error


Body = TypeVar("Body", Report, Finished, Shard, Failed)


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """The work folder. All workers must reach it under this path.

    Attributes:
        root: the folder.
        cache: folder of finished cases that conversions share (--case_cache); None = no cache.
    """

    root: pathlib.Path
    cache: pathlib.Path | None = None

    @property
    def dataset(self) -> pathlib.Path:
        """The folder that becomes the output."""
        return self.root / "dataset"

    @property
    def debug_log(self) -> pathlib.Path:
        """The file beside the output with the tracebacks of unexpected exceptions."""
        return self.root.with_name(self.root.name.removeprefix(".").removesuffix(".work") + ".debug.log")

    def report(self, case_id: str) -> pathlib.Path:
        """The file of a case's report."""
        return self.root / "reports" / f"{_file_stem(case_id)}.json"

    def finished(self, case_id: str) -> pathlib.Path:
        """The file that exists when a case's record is finished."""
        return self.root / "records" / f"{_file_stem(case_id)}.json"

    def record(self, case_id: str) -> pathlib.Path:
        """The file with a case's record, framed as in a shard."""
        return self.root / "records" / f"{_file_stem(case_id)}.tfrecord"

    def count(self, kind: str) -> int:
        """The number of cases with a file in ``reports`` or ``records``."""
        with contextlib.suppress(FileNotFoundError):
            return sum(name.endswith(".json") and name[0] != "." for name in os.listdir(self.root / kind))
        return 0


def _file_stem(case_id: str) -> str:
    # A case's name may contain characters that are not allowed in file names.
    return hashlib.sha256(case_id.encode()).hexdigest()[:24]


@contextlib.contextmanager
def opened(output: str | os.PathLike, *, cache: str | os.PathLike | None = None) -> Iterator[WorkFolder]:
    """Creates or opens the work folder of an output, and locks it for one conversion.

    The folder stays after the block, unless no case is finished. A finished conversion calls `publish`.

    Raises:
        UserError: the folder cannot be created, or another conversion is writing the same output.
    """
    output = pathlib.Path(output).absolute()
    root = output.parent / f".{output.name}.work"
    try:
        for folder in (root / "reports", root / "records", root / "dataset"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic_files.unwritable(output, error) from error

    def busy(holder: str) -> UserError:
        return UserError(
            f"another conversion ({holder}) is writing this output",
            path=output,
            remedy="Wait for it, end it, or choose another --output",
        )

    with locks.held(root / "lock", busy):
        work = WorkFolder(root, None if cache is None else pathlib.Path(cache).absolute())
        try:
            yield work
        finally:
            if not work.count("reports") and not work.count("records"):
                discard(work)


def publish(work: WorkFolder, output: str | os.PathLike) -> None:
    """Renames the work's dataset to `output`, replacing an existing dataset, and removes the work folder.

    Raises:
        UserError: the dataset cannot be renamed.
    """
    output = pathlib.Path(output).absolute()
    former = work.root / "former"
    try:
        if output.exists():
            shutil.rmtree(former, ignore_errors=True)  # left by a conversion that was killed during this function
            output.rename(former)
        work.dataset.rename(output)
    except OSError as error:
        if former.exists() and not output.exists():
            former.rename(output)
        raise atomic_files.unwritable(output, error) from error
    discard(work)


def discard(work: WorkFolder) -> None:
    """Removes the work folder."""
    shutil.rmtree(work.root, ignore_errors=True)


def key(case: CaseFiles, settings: Settings, digests: Mapping[str, str], **more: Any) -> str:
    """The key of a result: a hash of everything that it depends on.

    Args:
        case: files of the case.
        settings: settings of the conversion.
        digests: hashes of the bytes of the case's files; see `digests`.
        more: all other inputs of the result, as JSON values.
    """
    inputs = {
        "version": [semicml_tf.__version__, CONTRACT_VERSION],
        # Contains the paths, which findings name, and the channel of each source.
        "case": repr(case),
        "settings": {**dataclasses.asdict(settings), "normalisation": _texts(settings.normalisation)},
        "digests": dict(digests),
        **more,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def digests(case: CaseFiles, *, with_label: bool) -> dict[str, str]:
    """SHA-256 of each file of the case that conversion reads, by modality, ``label`` and ``label_on``."""
    sources = dict(case.images)
    if with_label:
        sources |= {"label": case.label, "label_on": case.label_on}
    return {name: source.digest() for name, source in sources.items() if source is not None and not source.missing()}


def read(path: pathlib.Path, schema: type[Body]) -> Body:
    """The result of a finished job, without a check of its key.

    Raises:
        UserError: the file cannot be read, or does not fit `schema`.
    """
    return json_files.read(
        path,
        schema,
        what="the work of an unfinished conversion",
        remedy="Delete this file and convert again",
        max_bytes=MAX_BYTES_OF_CASES,
    )


def load(path: pathlib.Path, wanted: str, schema: type[Body]) -> Body | None:
    """The result that `save` wrote with the key `wanted`; None if the file is missing or has another key or content."""
    with contextlib.suppress(UserError):
        body = read(path, schema)
        if body["key"] == wanted:
            return body
    return None


def save(path: pathlib.Path, wanted: str, body: Mapping[str, Any]) -> None:
    """Writes `body` with its key."""
    atomic_files.write_json(path, {"key": wanted, **body})


def _cache_path(cache: pathlib.Path, key: str, ending: str) -> pathlib.Path:
    return cache / key[:2] / f"{key}.{ending}"


def cached_report(cache: pathlib.Path, key: str) -> Report | None:
    """The report of this key; None if there is none."""
    return load(_cache_path(cache, key, "report.json"), key, Report)


def keep_report(cache: pathlib.Path, key: str, body: Mapping[str, Any]) -> None:
    """Writes a report into the cache."""
    save(_cache_path(cache, key, "report.json"), key, body)


def cached_record(cache: pathlib.Path, key: str, target: pathlib.Path) -> Finished | None:
    """Copies the record of this key to `target` and returns the JSON of its case; None if there is none."""
    body, kept = load(_cache_path(cache, key, "json"), key, Finished), _cache_path(cache, key, "tfrecord")
    if body is None or not kept.is_file() or kept.stat().st_size != body["bytes"]:
        return None
    _copy(kept, target)
    return body


def keep_record(cache: pathlib.Path, key: str, body: Mapping[str, Any], source: pathlib.Path) -> None:
    """Writes the record of the file `source` into the cache."""
    _copy(source, _cache_path(cache, key, "tfrecord"))
    save(_cache_path(cache, key, "json"), key, body)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Hard-links a file, which is never changed afterwards; copies it if the file systems differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with open(source, "rb") as stream:
            atomic_files.write_file(target, lambda staged: shutil.copyfileobj(stream, staged, 1 << 20))
