"""Finished cases under the key of what went into them, for other conversions that come upon the same files.

    CACHE/ab/abcdef...report.json     what verification told of a case
    CACHE/ab/abcdef...json            a finished case
    CACHE/ab/abcdef...tfrecord        its record, framed

Files appear whole or not at all, a record before the JSON that vouches for it. Any of them may be deleted at any time.
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
    """The JSON of a report of this key; None where there is none."""
    return works.load(_path(cache, key, "report.json"), key, works.Report)


def keep_report(cache: pathlib.Path, key: str, body: Mapping[str, Any]) -> None:
    """Keeps a report."""
    works.save(_path(cache, key, "report.json"), key, body)


def record(cache: pathlib.Path, key: str, target: pathlib.Path) -> works.Finished | None:
    """Puts a record of this key at `target` and returns the JSON of its case; None where there is none."""
    body, kept = works.load(_path(cache, key, "json"), key, works.Finished), _path(cache, key, "tfrecord")
    if body is None or not kept.is_file() or kept.stat().st_size != body["bytes"]:
        return None
    _copy(kept, target)
    return body


def keep_record(cache: pathlib.Path, key: str, body: Mapping[str, Any], source: pathlib.Path) -> None:
    """Keeps the record that lies at `source`."""
    _copy(source, _path(cache, key, "tfrecord"))
    works.save(_path(cache, key, "json"), key, body)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """A second name for a file that nobody writes into; a copy where the two are on different file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with open(source, "rb") as stream:
            atomic_files.write_file(target, lambda staged: shutil.copyfileobj(stream, staged, 1 << 20))
