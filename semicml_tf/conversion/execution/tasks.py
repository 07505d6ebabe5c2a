"""The jobs of a worker: examine a case, make a case's record, assemble a shard.

Each job writes its result into the work folder with the key of its inputs. A job whose result exists is skipped. Errors
are results, too, because Beam wraps exceptions of a worker in long texts.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from semicml_tf.conversion.build_case import build
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.examine_case import examine
from semicml_tf.conversion.verification.findings import ERROR
from semicml_tf.errors import UserError, unexpected
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.resample import changed_volume
from semicml_tf.records import case_record, tfrecord_file
from semicml_tf.system import atomic_files


@dataclasses.dataclass(frozen=True)
class CaseJob:
    """The work on one case.

    Attributes:
        case: the case's files.
        settings: settings of the conversion.
        with_label: whether the label is read.
        missing_allowed: whether the case may lack a modality.
        work: the folder of the results.
        partition, shard, index: the place of the record in the dataset.
        preview: file of the picture to draw, relative to the dataset; "" = no picture.
    """

    case: CaseFiles
    settings: Settings
    with_label: bool
    missing_allowed: bool
    work: WorkFolder
    partition: str
    shard: str
    index: int
    preview: str = ""


def look(job: CaseJob) -> None:
    """Examines a case and writes its report."""
    path = job.work.report(job.case.case_id)
    try:
        digests = works.digests(job.case, with_label=job.with_label)
    except Exception:  # a file cannot be read; the report will name it
        digests = {}
    missing_allowed = job.missing_allowed
    wanted = works.key(job.case, job.settings, digests, with_label=job.with_label, missing_allowed=missing_allowed)
    done = works.load(path, wanted, works.Report) if digests else None
    if _is_sound(done):
        return
    cache = job.work.cache
    done = works.cached_report(cache, wanted) if digests and cache else None
    if not _is_sound(done):
        report = examine(
            job.case,
            job.settings,
            with_label=job.with_label,
            missing_allowed=missing_allowed,
            debug_log=job.work.debug_log,
        )
        done = {"report": report.to_json()}
        if cache and _is_sound(done):
            works.keep_report(cache, wanted, done)
    works.save(path, wanted, {"report": done["report"]})


def _is_sound(done: Mapping[str, Any] | None) -> bool:
    """Whether a report can be used again.

    A report with an error cannot: the error may be fixed without a change of files, e.g. by installing a library.
    """
    return done is not None and all(finding["severity"] != ERROR for finding in done["report"]["findings"])


def make(job: CaseJob) -> bool:
    """Makes a case's record unless it exists already; returns False after an error."""
    path = job.work.finished(job.case.case_id)
    try:
        digests = works.digests(job.case, with_label=job.with_label)
        wanted = works.key(
            job.case,
            job.settings,
            digests,
            with_label=job.with_label,
            partition=job.partition,
            preview=job.preview,
        )
        if not (works.load(path, wanted, works.Finished) and _is_kept(job, wanted)):
            # Removed first, because its key does not fit the record that is written now.
            path.unlink(missing_ok=True)
            works.save(path, wanted, _from_cache(job, wanted) or _built(job, wanted))
    except UserError as error:
        works.save(path, "", {"error": _error_body(error)})
        return False
    except Exception as error:
        reported = unexpected(error, job.work.debug_log)
        named = UserError(f"case {job.case.case_id}: {reported.problem}", remedy=reported.remedy)
        works.save(path, "", {"error": _error_body(named)})
        return False
    return True


def _from_cache(job: CaseJob, wanted: str) -> dict[str, Any] | None:
    """Copies the record from the cache. Returns its result, or None if it is missing or a picture is needed."""
    if job.work.cache is None or job.preview:
        return None
    body = works.cached_record(job.work.cache, wanted, job.work.record(job.case.case_id))
    return body and {"entry": body["entry"], "bytes": body["bytes"]}


def _built(job: CaseJob, wanted: str) -> dict[str, Any]:
    record = build(job.case, job.settings, with_label=job.with_label)
    path, encoded = job.work.record(job.case.case_id), case_record.encode(record)
    atomic_files.write_file(path, lambda stream: tfrecord_file.write(stream, encoded))
    if job.preview:
        _draw(job, record)
    body = {"entry": _entry(record), "bytes": path.stat().st_size}
    if job.work.cache is not None and not job.preview:
        works.keep_record(job.work.cache, wanted, body, path)
    return body


def _draw(job: CaseJob, record: case_record.CaseRecord) -> None:
    from semicml_tf.conversion.preview.contact_sheet import write_preview

    write_preview(record, job.work.dataset / job.preview, partition=job.partition)


def _entry(record: case_record.CaseRecord) -> dict[str, Any]:
    labels, change, counts = record.labels, "", {}
    label = None if record.label is None else labels.any(record.label)
    if label is not None:
        native = labels.any(record.native_label)
        change = changed_volume(native, record.native_grid, label, record.grid)
        if not labels.is_plain:
            counts["class_slices"] = {name: _slices(labels.mask(record.label, name)) for name in labels.names}
        if (ignored := labels.ignored(record.label)) is not None:
            counts["annotated_slices"] = _slices(~ignored)
    return {
        **counts,
        "shape": list(record.grid.shape),
        "modalities": sorted(record.images),
        "lesion_slices": None if label is None else _slices(label),
        "volume_changed": change,
        "lesion_lost": bool(label is not None and native.any() and not label.any()),
    }


def _slices(mask: np.ndarray) -> int:
    """Number of slices with a voxel of a mask."""
    return int(mask.any(axis=(1, 2)).sum())


def _is_kept(job: CaseJob, wanted: str) -> bool:
    """Whether a finished record still exists: in its own file, or in a finished shard."""
    if job.work.record(job.case.case_id).is_file():
        return True
    body = works.load(_shard_note(job.work, job.shard), job.shard, works.Shard)
    is_written = body is not None and (job.work.dataset / job.shard).is_file()
    return is_written and body["keys"].get(job.case.case_id) == wanted


def _shard_note(work: WorkFolder, shard: str) -> pathlib.Path:
    return work.root / "shards" / f"{shard}.json"


def assemble(group: tuple[str, Iterable[CaseJob]], sizes: dict[str, int]) -> None:
    """Assembles a shard from its cases' records, in order, and removes these records.

    Args:
        group: file name of the shard, and the jobs of its cases, in any order.
        sizes: number of cases by shard. A shard is not made if one of its cases has failed.
    """
    shard, jobs = group[0], sorted(group[1], key=lambda job: job.index)
    if len(jobs) != sizes[shard]:
        return
    work = jobs[0].work
    note, target = _shard_note(work, shard), work.dataset / shard
    finished = {job.case.case_id: works.read(work.finished(job.case.case_id), works.Finished) for job in jobs}
    keys = {case: body["key"] for case, body in finished.items()}
    former = works.load(note, shard, works.Shard)
    # If a record still exists, the note may be older than the shard.
    waiting = any(work.record(case).is_file() for case in keys)
    if former and former["keys"] == keys and target.is_file() and not waiting:
        return

    def write(stream):
        for case in keys:
            with _opened_record(work, case, target, former) as record:
                shutil.copyfileobj(record, stream, 1 << 20)

    try:
        atomic_files.write_file(target, write)
        works.save(note, shard, {"keys": keys, "bytes": {case: body["bytes"] for case, body in finished.items()}})
    except UserError as error:
        works.save(note, "", {"error": _error_body(error)})
        return
    for case in keys:
        work.record(case).unlink(missing_ok=True)


def _opened_record(work: WorkFolder, case: str, shard: pathlib.Path, note: works.Shard | None) -> BinaryIO:
    """A stream of a case's framed record: its own file, else its part of the existing shard."""
    if work.record(case).is_file():
        return open(work.record(case), "rb")
    with open(shard, "rb") as stream:
        for other, size in note["bytes"].items():
            if other == case:
                return io.BytesIO(stream.read(min(size, os.fstat(stream.fileno()).st_size)))
            stream.seek(size, os.SEEK_CUR)
    raise FileNotFoundError(work.record(case))


def _error_body(error: UserError) -> dict[str, str | None]:
    return {"problem": error.problem, "path": error.path, "remedy": error.remedy}


def error_of(path: pathlib.Path) -> UserError | None:
    """The error of a failed job; None if it did not fail."""
    body = works.load(path, "", works.Failed)
    if body is None:
        return None
    error = body["error"]
    return UserError(error["problem"], path=error["path"], remedy=error["remedy"])


def shard_error(work: WorkFolder, shard: str) -> UserError | None:
    """The error of a shard that could not be written; None if it was written."""
    return error_of(_shard_note(work, shard))
