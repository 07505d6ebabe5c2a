"""`predictions.json`: the outcome of each case of a folder. The same command continues from this record."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Literal

from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError, printable
from semicml_tf.inference.inputs import Case
from semicml_tf.inference.outputs import Outputs
from semicml_tf.system import atomic_files, json_files, locks

FILE_NAME = "predictions.json"
VERSION = 1


def _state(path: pathlib.Path) -> list[int] | None:
    """Size and time of a file, which change when it is replaced; None for a folder."""
    if os.path.isdir(path):
        return None
    try:
        status = path.stat()
    except OSError:  # a missing file is reported when it is read
        return None
    return [status.st_size, status.st_mtime_ns]


class _Case(TypedDict):
    status: Literal["done", "failed"]
    error: NotRequired[str]


class _Record(TypedDict):
    """The fields of `predictions.json` that are read."""

    predictions_version: Literal[VERSION]
    settings: dict[str, Any]
    cases: dict[str, _Case]


class Predictions:
    """The record of a folder of outputs; it is written after each case.

    Args:
        folder: of the outputs.
        flags: of the command.
        settings: on which the outputs depend, beside the inputs: models, threshold, post-processing, passes.
        overwrite: segment all cases again.

    Raises:
        UserError: the folder holds other things, or outputs made with other settings.
    """

    def __init__(self, folder: pathlib.Path, *, flags: str, settings: dict, overwrite: bool):
        self.path = folder / FILE_NAME
        self._body = {"predictions_version": VERSION, "flags": flags, "settings": settings, "cases": {}}
        if folder.exists() and not folder.is_dir():
            raise UserError(
                "expected a folder for several outputs, got a file", path=folder, remedy="Choose another --output"
            )
        if self.path.exists():
            before = json_files.read(
                self.path,
                _Record,
                what="a record of predictions",
                remedy="Choose another --output",
                max_bytes=json_files.MAX_BYTES_OF_CASES,
            )
            if overwrite:
                pass
            elif before["settings"] != settings:
                raise UserError(
                    "these outputs were made with other models or settings",
                    path=self.path,
                    remedy="Choose another --output, or pass --overwrite to segment all cases again",
                )
            else:
                self._body["cases"] = before["cases"]
        elif locks.contents(folder):
            raise UserError(
                f"the output folder holds other things, and no {FILE_NAME}", path=folder, remedy="Choose another one"
            )
        atomic_files.write_json(self.path, self._body)

    def is_done(self, case: Case, outputs: Outputs) -> bool:
        """Whether the outputs exist and were made from these inputs."""
        entry = self._body["cases"].get(printable(case.name), {})
        return (
            entry.get("status") == "done"
            and entry.get("inputs") == self._inputs(case)
            and entry.get("outputs") == self._outputs(outputs)
            and all(path.is_file() for path in outputs.files().values())
        )

    def done(self, case: Case, outputs: Outputs, facts: dict, models: dict) -> None:
        """Records a case that was segmented."""
        self._add(case, {"status": "done", "outputs": self._outputs(outputs), "models": models, **facts})

    def failed(self, case: Case, problem: str) -> None:
        """Records a case that could not be segmented, and why."""
        self._add(case, {"status": "failed", "error": problem})

    def failures(self, cases: list[Case]) -> dict[str, str]:
        """The problems of the failed cases among `cases`, by name."""
        entries = self._body["cases"]
        names = [printable(case.name) for case in cases]
        return {name: entries[name]["error"] for name in names if entries[name]["status"] == "failed"}

    def _add(self, case: Case, found: dict) -> None:
        self._body["cases"][printable(case.name)] = {"inputs": self._inputs(case), **found}
        atomic_files.write_json(self.path, self._body)

    @staticmethod
    def _inputs(case: Case) -> dict:
        return {
            name: {"path": printable(str(path)), "size_and_time": _state(path)} for name, path in case.images.items()
        }

    @staticmethod
    def _outputs(outputs: Outputs) -> dict:
        return {what: printable(str(path)) for what, path in outputs.files().items()}
