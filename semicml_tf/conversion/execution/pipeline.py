"""The work on all cases, as two Beam pipelines: one that looks at them, one that makes records and shards.

One worker on this machine does the same work in two loops: Beam takes seconds to start, and has nothing to distribute.

Results go through the work folder and not through the runner, which then needs no memory for them: a worker holds
one case at a time, however many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from semicml_tf.conversion.execution import tasks as work_of
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.execution.runner import Engine, progress
from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.verification.findings import CaseReport, Finding
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import CaseEntry
from semicml_tf.system import quiet_import


class CasesFailed(UserError):
    """Cases whose records could not be made, although verification found no error in them.

    Args:
        failed: what happened, by case name; the message is the first one's.
    """

    def __init__(self, failed: Mapping[str, UserError]):
        first = next(iter(failed.values()))
        super().__init__(first.problem, path=first.path, remedy=first.remedy)
        self.findings = [Finding.of_error("unexpected", error, case=case) for case, error in failed.items()]


def look_at(jobs: Sequence[CaseJob], engine: Engine, work: WorkFolder) -> dict[str, CaseReport]:
    """Examines every case; reports that a killed conversion left are taken as they are.

    Returns:
        Reports by case name, in the jobs' order.

    Raises:
        UserError: the runner fails.
    """

    def build(beam, pipeline):
        return (
            pipeline
            | "cases" >> beam.Create(list(jobs), reshuffle=False)
            | "spread" >> beam.Reshuffle()
            | "look" >> beam.Map(work_of.look)
        )

    with progress("verifying", len(jobs), lambda: work.count("reports")):
        if engine.is_this_process(len(jobs)):
            with quiet_import.stderr_held_back():
                for job in jobs:
                    work_of.look(job)
        elif jobs:
            engine.run(build, jobs=len(jobs))
    return {
        job.case.case_id: CaseReport.from_json(works.read(work.report(job.case.case_id), works.Report)["report"])
        for job in jobs
    }


def make_shards(
    jobs: Sequence[CaseJob], engine: Engine, work: WorkFolder
) -> tuple[dict[str, CaseEntry], list[Finding]]:
    """Makes every case's record and puts them into shards, in the work folder's dataset.

    Shards depend on the cases' names alone and hold them in order, so that the same input gives the same bytes
    whatever the runner and its workers.

    Returns:
        Entries by case name, and findings about labels whose volume changed grossly on the network's grid.

    Raises:
        CasesFailed: cases cannot be built.
        UserError: a shard cannot be written, or the runner fails.
    """
    sizes: dict[str, int] = {}
    for job in jobs:
        sizes[job.shard] = sizes.get(job.shard, 0) + 1

    def build(beam, pipeline):
        return (
            pipeline
            | "cases" >> beam.Create(list(jobs), reshuffle=False)
            | "spread" >> beam.Reshuffle()
            | "make" >> beam.FlatMap(work_of.make)
            | "by shard" >> beam.GroupByKey()
            | "assemble" >> beam.Map(work_of.assemble, sizes)
        )

    with progress("converting", len(jobs), lambda: work.count("records")):
        if engine.is_this_process(len(jobs)):
            with quiet_import.stderr_held_back():
                jobs_by_shard: dict[str, list[CaseJob]] = {}
                for job in jobs:
                    for shard, made in work_of.make(job):
                        jobs_by_shard.setdefault(shard, []).append(made)
                for group in jobs_by_shard.items():
                    work_of.assemble(group, sizes)
        else:
            engine.run(build, jobs=len(jobs))
    errors = {job.case.case_id: work_of.error_of(work.finished(job.case.case_id)) for job in jobs}
    failed = {case: error for case, error in errors.items() if error is not None}
    if failed:
        raise CasesFailed(failed)
    for error in (work_of.shard_error(work, shard) for shard in sizes):
        if error is not None:
            raise error
    made = {job.case.case_id: works.read(work.finished(job.case.case_id), works.Finished)["entry"] for job in jobs}
    entries = {job.case.case_id: _entry(job, made[job.case.case_id]) for job in jobs}
    return entries, [_changed(case, entry) for case, entry in made.items() if entry.get("volume_changed")]


def _changed(case: str, made: Mapping) -> Finding:
    """The finding about a label whose volume is not what it was."""
    problem = f"resampling changed the label of case {case}: {made['volume_changed']}"
    if made["lesion_lost"]:
        problem = f"the lesion of case {case} is too small for this spacing: no voxel of it is left"
    remedy = "Choose a smaller --spacing_mm, or look whether the label lies in its images"
    return Finding.of("label_volume_changed", problem, case=case, remedy=remedy)


def _entry(job: CaseJob, made: Mapping) -> CaseEntry:
    return CaseEntry(
        case_id=job.case.case_id,
        shard=job.shard,
        index=job.index,
        shape=tuple(made["shape"]),
        lesion_slices=made["lesion_slices"],
        modalities=tuple(name for name in job.settings.modalities if name in made["modalities"]),
    )
