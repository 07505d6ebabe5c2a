"""The job of `semicml_tf.report`: one HTML page of one or several runs."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.configuration import command_line
from semicml_tf.errors import UserError
from semicml_tf.reporting import page, run_facts
from semicml_tf.reporting.config import ReportConfig
from semicml_tf.system import atomic_files, locks

FILE_NAME = "report.html"


@dataclasses.dataclass(frozen=True)
class ReportResult:
    """A page.

    Attributes:
        file: of the page.
        has_images: whether the page shows images of patients.
        warnings: one line for each thing that a run's folder lacks.
        text: for the screen.
        problem: the error of files that exist but cannot be read. The page lacks their contents.
    """

    file: pathlib.Path
    has_images: bool
    warnings: tuple[str, ...]
    text: str
    problem: UserError | None = None


def report(config: ReportConfig) -> ReportResult:
    """Writes the page.

    Raises:
        UserError: a folder has no run, or the page cannot be written.
    """
    output = pathlib.Path(config.output or pathlib.Path(config.run[0]) / FILE_NAME)
    if output.is_dir():
        raise UserError(
            "expected a file, got a folder", path=output, remedy="Choose another --output, e.g. report.html"
        )
    runs = run_facts.load_all(config.run, config.partition, config.external)
    with locks.writing(output):
        content = page.build(runs, command=command_line("semicml_tf.report", config), images=config.images)
        atomic_files.write_file(output, lambda stream: stream.write(content))
    has_images = b"<img " in content
    text = f"report: {output} ({len(content) / 1e6:.1f} MB)"
    if has_images:
        text += "\nThe page contains images of patients: share it only with people who may have the images."
    warnings = [f"{run.folder}: {note}" for run in runs for note in run.notes if note not in run.damaged]
    damaged = [line for run in runs for line in run.damaged]
    problem = UserError("; ".join(line.rstrip(".") for line in damaged)) if damaged else None
    return ReportResult(output, has_images, tuple(warnings), text, problem)
