"""Views of a dataset: the same records with another split, without another conversion.

    python -m semicml_tf.conversion.view --dataset=DATASET --split=FILE.json --output=VIEW

A view is a complete dataset. Its shards have the bytes that a conversion with this split writes, with one exception:
the native grid of a patient who is unlabelled in the view is still that of the label file. A conversion would write
that of the image, which may differ by up to 0.1 mm. The label of such a patient is removed from the record, and its
numbers from cards.json. A view has no verify.json, fingerprint.json and preview, which describe labels of the whole
dataset.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.conversion.execution import dataset_writer
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.splitting.split import Split
from semicml_tf.errors import UserError, doing
from semicml_tf.files.case import CaseFiles
from semicml_tf.records import case_cards, case_record, shards, tfrecord_file
from semicml_tf.records.case_record import LABELLED_PARTITIONS, PARTITIONS, CaseRecord
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.system import atomic_files


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Options of a view.

    Raises:
        UserError: an option is wrong.
    """

    dataset: str = option(help="The converted dataset.", path=True)
    split: str = option(help="JSON file of the split.", path=True)
    output: str = option(help="Folder of the view.", path=True)
    cases_per_shard: int = option(8, "Largest number of cases in a shard.", low=1)

    def __post_init__(self):
        check(self)


CONFIG = ViewConfig


def patients_of(info: DatasetInfo) -> dict[str, str]:
    """The patient of each case, by case.

    Raises:
        UserError: the dataset's split names patients with several studies, and an earlier version of the package wrote
            the dataset without the patients of the studies.
    """
    patients = {entry.case_id: entry.case_id for entries in info.partitions.values() for entry in entries}
    path = info.root / splits.FILE_NAME
    if not info.patients and not info.url and path.is_file():
        split = splits.read(path)
        unknown = [name for partition in PARTITIONS for name in split[partition] if name not in patients]
        if unknown:
            raise UserError(
                f"this dataset has studies of the patient {unknown[0]}, but does not say which",
                path=info.location,
                remedy="Convert the data again with this version: a patient must not be in two partitions",
            )
    return patients | info.patients


def write(info: DatasetInfo, split: Split, output: str | pathlib.Path, *, cases_per_shard: int = 8) -> DatasetInfo:
    """Writes a view. After an error, `output` is unchanged.

    Args:
        info: the dataset.
        split: names of its patients or cases. Cases that the split does not name are left out.
        output: folder of the view, which must be missing or empty.
        cases_per_shard: largest number of cases in a shard.

    Returns:
        The view.

    Raises:
        UserError: the dataset is damaged; the split does not fit the dataset; a case of the split's labelled
            partitions has no label in the dataset; `output` is in use.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("expected no file and no folder with files", path=output, remedy="Choose another output")
    former = {entry.case_id: entry for entries in info.partitions.values() for entry in entries}
    patients = patients_of(info)
    cases = [CaseFiles(name, {}, patient_id=patient) for name, patient in patients.items()]
    chosen, _ = splits.cases_by_partition(split, cases, source=info.location)
    names = {partition: [case.case_id for case in members] for partition, members in chosen.items()}
    _require_labels(info, names)
    shards.check_shards(info, PARTITIONS)
    with works.opened(output) as work:
        entries: dict[str, list[CaseEntry]] = {partition: [] for partition in PARTITIONS}
        for partition in PARTITIONS:
            remaining = iter(names[partition])
            for shard, size in dataset_writer.plan_shards(partition, len(names[partition]), cases_per_shard):
                members = [former[next(remaining)] for _ in range(size)]
                entries[partition] += [
                    _entry(case, partition, shard, index) for index, case in enumerate(members)
                ]  # fmt: skip
                contents = _contents(info, members, partition)
                atomic_files.write_file(
                    work.dataset / shard, lambda stream, contents=contents: _write_all(stream, contents)
                )
        view = _described(info, entries, work.dataset)
        dataset_writer.require_classes(view)
        # Reads all records again, because a label of an unlabelled patient would be a leak.
        shards.check_records(view, PARTITIONS)
        files = {splits.FILE_NAME: split.to_json(), **_cards(info, names)}
        dataset_writer.complete(view, files, (), view_of={"dataset": info.location, "data_hash": info.data_hash})
        works.publish(work, output)
    return dataclasses.replace(view, root=output)


def _require_labels(info: DatasetInfo, names: dict[str, list[str]]) -> None:
    unlabelled = {entry.case_id for entry in info.partitions.get("unlabelled", ())}
    for partition in LABELLED_PARTITIONS:
        without = [name for name in names[partition] if name in unlabelled]
        if without:
            raise UserError(
                f"the split puts case {without[0]} into '{partition}', but this dataset has no label of the case",
                path=info.location,
                remedy="Convert the data with this case labelled, or leave the case unlabelled",
            )


def _entry(former: CaseEntry, partition: str, shard: str, index: int) -> CaseEntry:
    entry = dataclasses.replace(former, shard=shard, index=index)
    if partition in LABELLED_PARTITIONS:
        return entry
    return dataclasses.replace(entry, lesion_slices=None, class_slices={}, annotated_slices=None)


def _contents(info: DatasetInfo, cases: Sequence[CaseEntry], partition: str) -> Iterator[bytes]:
    """Yields the records of a shard, one in memory at a time."""
    unlabelled = {entry.case_id for entry in info.partitions.get("unlabelled", ())}
    for case in cases:
        with doing(f"reading case {case.case_id}"):
            content = shards.read_content(info, case)
            if partition in LABELLED_PARTITIONS or case.case_id in unlabelled:
                yield content
                continue
            record = case_record.decode(content, path=info.shard_path(case.shard))
            yield case_record.encode(_without_label(record, info.spacing_mm))


def _without_label(record: CaseRecord, spacing_mm: tuple[float, float, float]) -> CaseRecord:
    """The record as conversion writes it for an unlabelled case.

    The native grid of a labelled record is that of the label file. If the image that the label was drawn on is missing,
    this grid may show where the lesion is. The network's whole grid then replaces it.
    """
    native = record.native_grid
    if not native.for_network(spacing_mm).is_close(record.full_grid):
        native = record.full_grid
    return dataclasses.replace(record, label=None, native_label=None, native_grid=native)


def _write_all(stream, contents: Iterator[bytes]) -> None:
    for content in contents:
        tfrecord_file.write(stream, content)


def _described(info: DatasetInfo, entries: dict[str, list[CaseEntry]], root: pathlib.Path) -> DatasetInfo:
    kept = {entry.case_id for members in entries.values() for entry in members}
    names = dict.fromkeys(entry.shard for members in entries.values() for entry in members)
    return dataclasses.replace(
        info,
        root=root,
        partitions={partition: tuple(members) for partition, members in entries.items()},
        shard_sha256={name: shards.sha256(root / name) for name in names},
        patients={case: patient for case, patient in info.patients.items() if case in kept},
        url="",
        streamed=False,
    ).with_hash()


def _cards(info: DatasetInfo, names: dict[str, list[str]]) -> dict[str, dict]:
    """The content of `cards.json` by file name; {} if the dataset has no cards."""
    if info.url or not (info.root / case_cards.FILE_NAME).is_file():
        return {}
    cards = {card[case_cards.CASE]: card for card in case_cards.load(info.root)}
    chosen = []
    for partition, members in names.items():
        for name in members:
            card = {**cards[name], case_cards.PARTITION: partition} if name in cards else None
            if card and partition not in LABELLED_PARTITIONS:
                card = {key: value for key, value in card.items() if not case_cards.is_of_a_lesion(key)}
            chosen += [card] if card else []
    return {case_cards.FILE_NAME: case_cards.as_json(chosen)}


def main(config: ViewConfig) -> None:
    """Runs the command."""
    view = write(
        DatasetInfo.load(config.dataset),
        splits.read(config.split),
        config.output,
        cases_per_shard=config.cases_per_shard,
    )
    counts = ", ".join(f"{name} {len(view.partitions[name])}" for name in PARTITIONS)
    print(f"{config.output}: {counts} cases, data hash {view.data_hash[:12]}")


if __name__ == "__main__":
    commandline.run("semicml_tf.conversion.view")
