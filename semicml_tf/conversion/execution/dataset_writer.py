"""Makes the jobs of a conversion from its cases, and a dataset's folder from their results."""

from __future__ import annotations

import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence

from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records import shards
from semicml_tf.records.case_record import LABELLED_PARTITIONS, PARTITIONS
from semicml_tf.records.dataset import FILE_NAME, CaseEntry, DatasetInfo
from semicml_tf.system import atomic_files

PREVIEW = "preview"


def plan_shards(partition: str, count: int, cases_per_shard: int) -> list[tuple[str, int]]:
    """File name and number of cases of each shard of a partition. The numbers differ by one at most."""
    number = -(-count // cases_per_shard)
    sizes = [count // number + (index < count % number) for index in range(number)] if number else []
    return [(shards.shard_name(partition, index, number), size) for index, size in enumerate(sizes)]


def jobs_of(
    cases: Mapping[str, Sequence[CaseFiles]],
    settings: Settings,
    work: WorkFolder,
    *,
    cases_per_shard: int,
    preview: bool = False,
) -> list[CaseJob]:
    """One job per case, each with its place in the dataset.

    Args:
        cases: by partition, sorted by name.
        preview: whether each case gets a picture.
    """
    jobs = []
    for partition in PARTITIONS:
        remaining = iter(cases.get(partition, ()))
        for shard, size in plan_shards(partition, len(cases.get(partition, ())), cases_per_shard):
            for index in range(size):
                case = next(remaining)
                jobs.append(
                    CaseJob(
                        case=case,
                        settings=settings,
                        with_label=partition in LABELLED_PARTITIONS,
                        missing_allowed=settings.allow_missing_modality,
                        work=work,
                        partition=partition,
                        shard=shard,
                        index=index,
                        preview=f"{PREVIEW}/{picture_name(case.case_id)}" if preview else "",
                    )
                )
    return jobs


def picture_name(case_id: str) -> str:
    """The file name of a case's picture: the case's name if it is a valid file name, else a similar name and a hash."""
    plain = re.sub(r"[^\w.-]", "_", case_id).lstrip(".")
    plain = plain if len(plain.encode()) <= 200 else plain[:50]  # file systems allow 255 bytes
    if plain == case_id:
        return f"{case_id}.png"
    return f"{plain}-{hashlib.sha256(case_id.encode()).hexdigest()[:8]}.png"


def describe(
    jobs: Sequence[CaseJob], entries: Mapping[str, CaseEntry], settings: Settings, *, layout: str, window: int | None
) -> DatasetInfo:
    """The content of `dataset.json` for the shards in the work folder."""
    root = jobs[0].work.dataset
    return DatasetInfo(
        root=root,
        modalities=settings.modalities,
        reference_modality=settings.reference_modality,
        spacing_mm=settings.spacing_mm,
        normalisation=settings.normalisation,
        labels=settings.labels,
        layout=layout,
        partitions={
            name: tuple(entries[job.case.case_id] for job in jobs if job.partition == name) for name in PARTITIONS
        },
        shard_sha256={shard: shards.sha256(root / shard) for shard in dict.fromkeys(job.shard for job in jobs)},
        crop=settings.crop,
        window=window,
        accepted=settings.accepted,
        patients={job.case.case_id: job.case.patient for job in jobs if job.case.patient != job.case.case_id},
    ).with_hash()


def require_classes(info: DatasetInfo) -> None:
    """Raises UserError if a class is in no labelled case, because no network could learn it."""
    labelled = info.partitions.get("labelled", ())
    for name in () if info.labels.is_plain or not labelled else info.labels.names:
        if not any(case.class_slices.get(name) for case in labelled):
            names = [case.case_id for case in labelled]
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            raise UserError(
                f"expected the class '{name}' in at least one labelled patient, but none of "
                f"{', '.join(names[:8])}{more} has it",
                remedy=f"Label a patient who has it, correct its values in --labels ({info.labels}), or leave it out",
            )


def complete(info: DatasetInfo, files: Mapping[str, Mapping | str], pictures: Sequence[str], **extra) -> None:
    """Writes a dataset's files other than its shards, and removes files of an earlier conversion with other flags.

    Args:
        info: the dataset in the work folder.
        files: JSON or text by file name.
        pictures: existing files of the preview to keep, relative to the dataset's folder.
        extra: further fields of `dataset.json`, about how the dataset was made.
    """
    kept = {*info.shard_sha256, *files, *pictures}
    for path in sorted(info.root.rglob("*")):
        if path.is_file() and path.relative_to(info.root).as_posix() not in kept:
            path.unlink()
    for folder in (path for path in info.root.iterdir() if path.is_dir() and not any(path.iterdir())):
        folder.rmdir()
    for name, body in files.items():
        write = atomic_files.write_text if isinstance(body, str) else atomic_files.write_json
        write(info.root / name, body)
    info.save(info.root, **extra)


def is_dataset(folder: pathlib.Path) -> bool:
    """Whether a folder contains a dataset."""
    return (folder / FILE_NAME).is_file()
