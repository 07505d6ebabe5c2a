"""The folder of work in progress beside the output: what a killed conversion has finished already.

    .OUTPUT.work/
        lock                     held by the conversion that is under way
        reports/CASE.json        what verification told of a case
        records/CASE.json        a finished case, with the key of what went into it
        records/CASE.tfrecord    its record, framed
        dataset/                 the shards, and in the end all that becomes OUTPUT

A file is trusted only if its key is that of the work to be done: a hash of the case's files, their names and bytes,
of the settings and of the version. Files appear whole or not at all, so a kill at any moment leaves nothing half done.
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

from typing_extensions import TypedDict

import semicml_tf
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.case_record import CONTRACT_VERSION
from semicml_tf.system import atomic_files, json_files, locks
from semicml_tf.system.json_files import MAX_BYTES_OF_CASES, Count, Positive


class Report(TypedDict):
    """What verification found in a case."""

    key: str
    report: CaseReport


class Entry(TypedDict):
    """What a case's record holds."""

    shape: tuple[Positive, Positive, Positive]
    modalities: list[str]
    lesion_slices: Count | None
    volume_changed: str
    lesion_lost: bool


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
    """A job that failed by a mistake of the user."""

    key: str
    error: _Error


Body = TypeVar("Body", Report, Finished, Shard, Failed)


@dataclasses.dataclass(frozen=True)
class WorkFolder:
    """Where everything of a conversion under way lies. All workers must see it under this path.

    Attributes:
        root: the folder.
        cache: folder of finished cases that conversions share; None for none. See `case_cache`.
    """

    root: pathlib.Path
    cache: pathlib.Path | None = None

    @property
    def dataset(self) -> pathlib.Path:
        """What becomes the output."""
        return self.root / "dataset"

    @property
    def debug_log(self) -> pathlib.Path:
        """The file beside the output with the tracebacks of exceptions that no check foresaw."""
        return self.root.with_name(self.root.name.removeprefix(".").removesuffix(".work") + ".debug.log")

    def report(self, case_id: str) -> pathlib.Path:
        """The file with what verification told of a case."""
        return self.root / "reports" / f"{_file_stem(case_id)}.json"

    def finished(self, case_id: str) -> pathlib.Path:
        """The file that says that a case's record is finished."""
        return self.root / "records" / f"{_file_stem(case_id)}.json"

    def record(self, case_id: str) -> pathlib.Path:
        """The file with a case's record, framed as in a shard."""
        return self.root / "records" / f"{_file_stem(case_id)}.tfrecord"

    def count(self, kind: str) -> int:
        """How many cases have a file in ``reports`` or ``records``."""
        with contextlib.suppress(FileNotFoundError):
            return sum(name.endswith(".json") and name[0] != "." for name in os.listdir(self.root / kind))
        return 0


def _file_stem(case_id: str) -> str:
    # A case's name may hold what a file's must not.
    return hashlib.sha256(case_id.encode()).hexdigest()[:24]


@contextlib.contextmanager
def opened(output: str | os.PathLike, *, cache: str | os.PathLike | None = None) -> Iterator[WorkFolder]:
    """The work folder of an output, made or taken up again, for one conversion at a time.

    It is left as it is when the block ends, unless nothing is finished in it: who finished calls `publish`.

    Raises:
        UserError: it cannot be made, or another conversion is at work on the same output.
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
    """Turns the work's dataset into `output`, replacing what is there, and removes the work folder.

    Raises:
        UserError: it cannot be renamed.
    """
    output = pathlib.Path(output).absolute()
    former = work.root / "former"
    try:
        if output.exists():
            shutil.rmtree(former, ignore_errors=True)  # of a conversion that was killed while it cleared up
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
    """What a finished file must bear to be the result of this case's files under these settings.

    Args:
        digests: of the bytes of the case's files.
        more: whatever else the result depends on; JSON values.
    """
    told = {
        "version": [semicml_tf.__version__, CONTRACT_VERSION],
        # With all that its sources say of themselves: places, which findings tell, and what part of a file is meant.
        "case": repr(case),
        "settings": {**dataclasses.asdict(settings), "normalisation": _texts(settings.normalisation)},
        "digests": dict(digests),
        **more,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def digests(case: CaseFiles, *, with_label: bool) -> dict[str, str]:
    """SHA-256 of each of the case's files that conversion reads, by modality, ``label`` and ``label_on``."""
    sources = dict(case.images)
    if with_label:
        sources |= {"label": case.label, "label_on": case.label_on}
    return {name: source.digest() for name, source in sources.items() if source is not None and not source.missing()}


def read(path: pathlib.Path, schema: type[Body]) -> Body:
    """What a finished job left, whatever its key.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    return json_files.read(
        path,
        schema,
        what="the work of an unfinished conversion",
        remedy="Delete this file and convert again",
        max_bytes=MAX_BYTES_OF_CASES,
    )


def load(path: pathlib.Path, wanted: str, schema: type[Body]) -> Body | None:
    """What `save` left with the key `wanted`; None where there is none, or a file of another key or another content."""
    with contextlib.suppress(UserError):
        body = read(path, schema)
        if body["key"] == wanted:
            return body
    return None


def save(path: pathlib.Path, wanted: str, body: Mapping[str, Any]) -> None:
    """Writes `body` with its key."""
    atomic_files.write_json(path, {"key": wanted, **body})
