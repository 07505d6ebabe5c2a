"""The work on all cases in two stages: examine every case; then make every record and every shard.

Results pass through the work folder, not through the runner. A worker has one case in memory at a time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from semicml_tf.conversion.execution import tasks
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.execution.beam_runner import BeamRunner
from semicml_tf.conversion.execution.local_runner import LocalRunner
from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.verification.findings import CaseReport, Finding
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import CaseEntry
from semicml_tf.system import progress


class CasesFailed(UserError):
    """Records of cases could not be made, although verification found no error in these cases.

    Args:
        failed: errors by case name. The message is that of the first one.
    """

    def __init__(self, failed: Mapping[str, UserError]):
        first = next(iter(failed.values()))
        super().__init__(first.problem, path=first.path, remedy=first.remedy)
        self.findings = [Finding.of_error("unexpected", error, case=case) for case, error in failed.items()]


def look_at(jobs: Sequence[CaseJob], runner: LocalRunner | BeamRunner, work: WorkFolder) -> dict[str, CaseReport]:
    """Examines every case. Reports of an interrupted conversion are used again.

    Returns:
        Reports by case name, in the order of `jobs`.

    Raises:
        UserError: the runner fails.
    """
    with _progress("verifying", len(jobs), lambda: work.count("reports")):
        runner.look(jobs)
    return {
        job.case.case_id: CaseReport.from_json(works.read(work.report(job.case.case_id), works.Report)["report"])
        for job in jobs
    }


def make_shards(
    jobs: Sequence[CaseJob], runner: LocalRunner | BeamRunner, work: WorkFolder
) -> tuple[dict[str, CaseEntry], list[Finding]]:
    """Makes every case's record and puts the records into shards, in the work folder's dataset.

    The jobs alone decide which cases a shard contains, in which order. The bytes do not depend on the runner or on the
    number of workers.

    Returns:
        Entries by case name, and findings about labels whose volume changed much by resampling.

    Raises:
        CasesFailed: cases cannot be built.
        UserError: a shard cannot be written, or the runner fails.
    """
    sizes: dict[str, int] = {}
    for job in jobs:
        sizes[job.shard] = sizes.get(job.shard, 0) + 1

    with _progress("converting", len(jobs), lambda: work.count("records")):
        runner.make(jobs, sizes)
    errors = {job.case.case_id: tasks.error_of(work.finished(job.case.case_id)) for job in jobs}
    failed = {case: error for case, error in errors.items() if error is not None}
    if failed:
        raise CasesFailed(failed)
    for error in (tasks.shard_error(work, shard) for shard in sizes):
        if error is not None:
            raise error
    made = {job.case.case_id: works.read(work.finished(job.case.case_id), works.Finished)["entry"] for job in jobs}
    entries = {job.case.case_id: _entry(job, made[job.case.case_id]) for job in jobs}
    return entries, [_changed(case, entry) for case, entry in made.items() if entry.get("volume_changed")]


def _changed(case: str, made: Mapping) -> Finding:
    """The finding about a label whose volume changed by resampling."""
    problem = f"resampling changed the label of case {case}: {made['volume_changed']}"
    if made["lesion_lost"]:
        problem = f"the lesion of case {case} is too small for this spacing: no voxel of it is left"
    remedy = "Choose a smaller --spacing_mm, or check that the label lies within its images"
    return Finding.of("label_volume_changed", problem, case=case, remedy=remedy)


def _entry(job: CaseJob, made: Mapping) -> CaseEntry:
    return CaseEntry(
        case_id=job.case.case_id,
        shard=job.shard,
        index=job.index,
        shape=tuple(made["shape"]),
        lesion_slices=made["lesion_slices"],
        modalities=tuple(name for name in job.settings.modalities if name in made["modalities"]),
        class_slices=dict(made.get("class_slices", {})),
        annotated_slices=made.get("annotated_slices"),
    )


@contextlib.contextmanager
def _progress(what: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """Shows a progress bar over the work of other processes.

    Args:
        what: the work, e.g. ``verifying``.
        total: number of cases.
        done: returns how many are finished.
    """
    stop = threading.Event()
    # A duplicate of stderr, because stderr itself is captured during the work.
    with (
        os.fdopen(os.dup(2), "w") as stream,
        progress.bar(total=total, desc=what, unit="case", leave=False, file=stream) as bar,
    ):

        def watch():
            while not stop.wait(0.3):
                bar.update(min(done(), total) - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
