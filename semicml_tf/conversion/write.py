"""Cases to a folder of shards and its `dataset.json`, whole or not at all."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import tqdm

from semicml_tf import atomic, quiet_import
from semicml_tf.conversion import split as splits
from semicml_tf.conversion.build_case import build
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records import contract, shards
from semicml_tf.records.dataset import CaseEntry, DatasetInfo


def plan_shards(partition: str, count: int, cases_per_shard: int) -> list[tuple[str, int]]:
    """File name of each shard of a partition and how many of its `count` sorted cases it holds, as even as can be."""
    number = -(-count // cases_per_shard)
    sizes = [count // number + (index < count % number) for index in range(number)] if number else []
    return [(shards.shard_name(partition, index, number), size) for index, size in enumerate(sizes)]


def _in_order(function: Callable, items: Iterable, workers: int) -> Iterator:
    """`function` of each item, in their order, computed by threads that run at most `workers` items ahead.

    Threads are enough: unzipping, resampling and numpy's arithmetic all release the interpreter's lock.
    """
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def write_dataset(
    output: str | pathlib.Path,
    cases: Mapping[str, Sequence[CaseFiles]],
    split: splits.Split,
    settings: Settings,
    *,
    layout: str,
    cases_per_shard: int,
    workers: int,
    overwrite: bool = False,
    extra: Mapping | None = None,
) -> tuple[DatasetInfo, list[str]]:
    """Builds every case and writes the dataset. The same input and settings give the same bytes.

    Args:
        output: folder to make.
        cases: by partition, sorted by name.
        split: as given, kept beside the shards as `split.json`.
        layout: name of the source's layout, for `dataset.json`.
        workers: threads that build cases.
        overwrite: whether a folder that is there may be replaced.
        extra: what else `dataset.json` should tell of how it was made.

    Returns:
        The dataset's description, and notes for the user.

    Raises:
        UserError: a case cannot be built, or the output cannot be written.
    """
    jobs = [(name, case) for name in contract.PARTITIONS for case in cases.get(name, ())]
    for name, case in jobs:
        case.check_present(with_label=name in contract.LABELLED_PARTITIONS)

    def make(job):
        name, case = job
        return build(case, settings, with_label=name in contract.LABELLED_PARTITIONS)

    notes: list[str] = []
    entries: dict[str, list[CaseEntry]] = {name: [] for name in contract.PARTITIONS}
    digests: dict[str, str] = {}
    with atomic.new_directory(output, overwrite=overwrite) as staged:
        # Hidden where nobody watches (disable=None): a log gets the error's line alone.
        progress = tqdm.tqdm(total=len(jobs), desc="converting", unit="case", leave=False, disable=None)
        with progress, contextlib.closing(_in_order(make, jobs, workers)) as records:
            for name in contract.PARTITIONS:
                for shard, size in plan_shards(name, len(cases.get(name, ())), cases_per_shard):
                    with _shard_writer(staged / shard, output) as writer:
                        for index, record in enumerate(itertools.islice(records, size)):
                            writer.write(contract.encode(record))
                            entries[name].append(_entry(record, shard, index))
                            notes += _notes(record)
                            progress.update()
                    digests[shard] = shards.sha256(staged / shard)
        info = DatasetInfo(
            root=pathlib.Path(output),
            modalities=settings.modalities,
            reference_modality=settings.reference_modality,
            spacing_mm=settings.spacing_mm,
            normalisation=settings.normalisation,
            label_values=settings.label_values,
            layout=layout,
            partitions={name: tuple(held) for name, held in entries.items()},
            shard_sha256=digests,
        ).with_hash()
        atomic.write_json(staged / splits.FILE_NAME, {name: list(names) for name, names in split.items()})
        info.save(staged, **(extra or {}))
    return info, notes


def _entry(record: contract.CaseRecord, shard: str, index: int) -> CaseEntry:
    slices = None if record.label is None else int(record.label.any(axis=(1, 2)).sum())
    return CaseEntry(case_id=record.case_id, shard=shard, index=index, shape=record.grid.shape, lesion_slices=slices)


def _notes(record: contract.CaseRecord) -> list[str]:
    if record.label is None or record.label.any() or not record.native_label.any():
        return []
    return [f"the lesion of case {record.case_id} is too small for this spacing: no voxel of it is left"]


@contextlib.contextmanager
def _shard_writer(path: pathlib.Path, output: str | pathlib.Path):
    # Only now: mistakes in flags, split and file names are told without TensorFlow's seconds of loading.
    tf = quiet_import.tensorflow()
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            yield writer
    except tf.errors.OpError as error:  # a full disk, for one; named by the folder that the user knows
        raise UserError(
            f"cannot write the shard {path.name} ({error.message})",
            path=output,
            remedy="Choose an output in a folder that you may write to and that has free space",
        ) from error
