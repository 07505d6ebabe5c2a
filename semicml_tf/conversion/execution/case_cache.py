"""Finished cases by the key of their inputs, for other conversions of the same files.

    CACHE/ab/abcdef...report.json     the report of verification on a case
    CACHE/ab/abcdef...json            a finished case
    CACHE/ab/abcdef...tfrecord        its record, framed

Files appear whole or not at all, and a record before its JSON file. Any file may be deleted at any time.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.system import atomic_files


def _path(cache: pathlib.Path, key: str, ending: str) -> pathlib.Path:
    return cache / key[:2] / f"{key}.{ending}"


def report(cache: pathlib.Path, key: str) -> works.Report | None:
    """The report of this key; None if there is none."""
    return works.load(_path(cache, key, "report.json"), key, works.Report)


def keep_report(cache: pathlib.Path, key: str, body: Mapping[str, Any]) -> None:
    """Writes a report into the cache."""
    works.save(_path(cache, key, "report.json"), key, body)


def record(cache: pathlib.Path, key: str, target: pathlib.Path) -> works.Finished | None:
    """Copies the record of this key to `target` and returns the JSON of its case; None if there is none."""
    body, kept = works.load(_path(cache, key, "json"), key, works.Finished), _path(cache, key, "tfrecord")
    if body is None or not kept.is_file() or kept.stat().st_size != body["bytes"]:
        return None
    _copy(kept, target)
    return body


def keep_record(cache: pathlib.Path, key: str, body: Mapping[str, Any], source: pathlib.Path) -> None:
    """Writes the record of the file `source` into the cache."""
    _copy(source, _path(cache, key, "tfrecord"))
    works.save(_path(cache, key, "json"), key, body)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """A hard link to a file that is never changed; a copy if the file systems differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with open(source, "rb") as stream:
            atomic_files.write_file(target, lambda staged: shutil.copyfileobj(stream, staged, 1 << 20))
