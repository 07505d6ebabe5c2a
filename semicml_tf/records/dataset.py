"""`dataset.json`: the description of a folder of shards. Conversion writes it; only this module reads it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen, MinLen
from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition
from semicml_tf.labels_file import LabelFile
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.case_record import CONTRACT_VERSION, MOST_VOXELS, PARTITIONS, PLAIN_VERSION
from semicml_tf.storage import access, listing
from semicml_tf.storage import url as urls
from semicml_tf.system import atomic_files, json_files
from semicml_tf.system.json_files import Count, Positive

FILE_NAME = "dataset.json"
_WHAT = "a converted dataset"
_REMEDY = "Convert the data again with python -m semicml_tf.convert of this version"
_Spacing = Annotated[float, Interval(ge=0, le=1e4)]


@dataclasses.dataclass(frozen=True)
class CaseEntry:
    """The record of a case: its place and its size.

    Attributes:
        case_id: name of the case.
        shard: file name beside `dataset.json`.
        index: position of the record in the shard, from 0.
        shape: (slices, rows, columns) on the network's grid.
        lesion_slices: number of slices with a voxel of any class; None if the case is unlabelled.
        modalities: images of the record; () = all modalities of the dataset.
        class_slices: by class, number of slices with a voxel of the class; {} if the case is unlabelled or the target
            is plain.
        annotated_slices: number of slices with a voxel that is not ignored; None if the case is unlabelled or the
            target has no ignore value.
    """

    case_id: str
    shard: str
    index: Count
    shape: tuple[Positive, Positive, Positive]
    lesion_slices: Count | None
    modalities: tuple[str, ...] = ()
    class_slices: dict[str, Count] = dataclasses.field(default_factory=dict, hash=False)
    annotated_slices: Count | None = None


@dataclasses.dataclass(frozen=True)
class _File:
    """`dataset.json` as it is read; see `DatasetInfo`."""

    contract_version: Literal[PLAIN_VERSION, CONTRACT_VERSION]
    modalities: Annotated[tuple[str, ...], MinLen(1)]
    reference_modality: str
    spacing_mm: tuple[_Spacing, _Spacing, _Spacing]
    normalisation: dict[str, str]
    layout: str
    partitions: dict[Literal[PARTITIONS], tuple[CaseEntry, ...]]
    shard_sha256: dict[str, str]
    crop: Literal["none", "body"]
    window: Positive | None
    data_hash: str
    accepted: tuple[str, ...] = ()
    patients: dict[str, str] = dataclasses.field(default_factory=dict)
    # Of version 2, and of version 3.
    label_values: Annotated[tuple[int, ...], MaxLen(1000)] | None = None
    labels: LabelFile | None = None

    def __post_init__(self):
        if (self.labels is None) != (self.contract_version == PLAIN_VERSION) or (
            self.labels or self.label_values
        ) is None:
            raise ValueError("expected label_values in version 2, and labels in version 3")
        _ = self.definition  # raises if the values make no definition
        names = set(self.modalities)
        if not all(name.isidentifier() for name in names):
            raise ValueError(f"expected names of modalities such as ct, got {self.modalities}")
        if (
            len(names) < len(self.modalities)
            or self.reference_modality not in names
            or set(self.normalisation) != names
        ):
            raise ValueError("expected different modalities, each with a normalisation, and one of them as reference")
        cases = [case for cases in self.partitions.values() for case in cases]
        if unknown := self.patients.keys() - {case.case_id for case in cases}:
            raise ValueError(f"expected patients of cases, got {sorted(unknown)[0]!r}, which is not a case")
        for case in cases:
            if not listing.is_shard(case.shard):
                raise ValueError(f"expected the name of a shard of case {case.case_id!r}, got {case.shard!r}")
            if math.prod(case.shape) > MOST_VOXELS or (case.lesion_slices or 0) > case.shape[0]:
                raise ValueError(f"case {case.case_id!r} has an impossible shape or number of slices with a lesion")
            if not set(case.modalities) <= names:
                raise ValueError(f"case {case.case_id!r} has modalities that the dataset lacks")
            known = self.labels.classes if self.labels else ()
            counts = (case.annotated_slices or 0, *case.class_slices.values())
            if not set(case.class_slices) <= set(known) or max(counts) > case.shape[0]:
                raise ValueError(f"case {case.case_id!r} has classes or numbers of slices that the dataset lacks")

    @property
    def definition(self) -> LabelDefinition:
        """What is segmented, in either version."""
        return self.labels.definition() if self.labels else LabelDefinition.plain(self.label_values)


class Origin(TypedDict, total=False):
    """How a dataset was made: fields that conversion writes into `dataset.json`, outside the hash."""

    command: str
    source: str
    versions: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The contents of `dataset.json`.

    Attributes:
        root: the folder; for a URL, the folder of the local copies.
        modalities: their names, in the order of the conversion.
        reference_modality: modality whose box the network's grid covers.
        spacing_mm: (slice, row, column) of the network's grid; 0 = each case's own.
        normalisation: by modality name.
        labels: what is segmented.
        layout: layout of the source files.
        partitions: cases by partition name.
        shard_sha256: by file name.
        crop: "body": records contain the body's box of their grid; "none": the whole grid.
        window: side in pixels of the slices that the conversion's plan advises for training; None = not planned.
        accepted: codes of verification's errors that the user accepted; see `plausibility.ACCEPTABLE`.
        data_hash: SHA-256 of everything above and the shards' bytes.
        patients: by case, the patient, if the patient's name differs from the case's; no part of the hash.
        url: URL that the dataset was read from, or "".
        streamed: whether the shards are read from `url` each time, instead of being copied to `root`.
    """

    root: pathlib.Path
    modalities: tuple[str, ...]
    reference_modality: str
    spacing_mm: tuple[float, float, float]
    normalisation: dict[str, Normalisation]
    labels: LabelDefinition
    layout: str
    partitions: dict[str, tuple[CaseEntry, ...]]
    shard_sha256: dict[str, str]
    crop: str = "none"
    window: int | None = None
    accepted: tuple[str, ...] = ()
    data_hash: str = ""
    patients: dict[str, str] = dataclasses.field(default_factory=dict)
    url: str = ""
    streamed: bool = False

    @property
    def location(self) -> str:
        """The URL, or the absolute path of the folder."""
        return self.url or str(self.root.absolute())

    @property
    def where(self) -> str:
        """A text that says where the shards are read from."""
        if not self.url:
            return str(self.root)
        return f"{self.url}: read where it lies" if self.streamed else f"{self.url}: shards are kept in {self.root}"

    def shard_path(self, shard: str) -> str:
        """Path of a shard for tf.data; a URL if the dataset is streamed."""
        return urls.join(self.url, shard) if self.streamed else str(self.root / shard)

    def cases(self, partition: str) -> tuple[CaseEntry, ...]:
        """The cases of a partition.

        Raises:
            UserError: the partition has no case.
        """
        entries = self.partitions.get(partition, ())
        if not entries:
            counts = {name: len(cases) for name, cases in self.partitions.items() if cases}
            raise UserError(
                f"expected cases in partition '{partition}', got {counts}",
                path=urls.join(self.location, FILE_NAME),
                remedy="Give that partition cases in the split and convert again",
            )
        return entries

    def modalities_of(self, case: CaseEntry) -> tuple[str, ...]:
        """The modalities of the record of `case`, in the dataset's order."""
        return case.modalities or self.modalities

    @property
    def contract_version(self) -> int:
        """Version of the records and of `dataset.json`: 2 for a plain target, else 3."""
        return PLAIN_VERSION if self.labels.is_plain else CONTRACT_VERSION

    def _target(self) -> dict:
        return {"label_values": list(self.labels.values)} if self.labels.is_plain else {"labels": self.labels.to_json()}

    def _entry(self, case: CaseEntry) -> dict:
        entry = dataclasses.asdict(case)
        for name in ("class_slices", "annotated_slices") if self.labels.is_plain else ():
            del entry[name]
        return entry

    def _body(self) -> dict:
        return {
            "contract_version": self.contract_version,
            "modalities": list(self.modalities),
            "reference_modality": self.reference_modality,
            "spacing_mm": list(self.spacing_mm),
            "axis_order": ["slice", "row", "column"],
            "normalisation": {name: str(how) for name, how in self.normalisation.items()},
            **self._target(),
            "layout": self.layout,
            "crop": self.crop,
            "window": self.window,
            "partitions": {name: [self._entry(case) for case in self.partitions.get(name, ())] for name in PARTITIONS},
            "shard_sha256": self.shard_sha256,
            # Only if not empty, so that the hash of other datasets does not change.
            **({"accepted": list(self.accepted)} if self.accepted else {}),
        }

    def with_hash(self) -> DatasetInfo:
        """A copy with its `data_hash` computed."""
        return dataclasses.replace(self, data_hash=_hash(self._body()))

    def save(self, folder: str | pathlib.Path, **extra) -> None:
        """Writes `dataset.json` into `folder`. `extra` (see `Origin`) is no part of the hash."""
        # Outside the hash, so that datasets of versions without patients keep theirs.
        patients = {"patients": self.patients} if self.patients else {}
        body = {**self._body(), "data_hash": self.data_hash, **patients, **extra}
        atomic_files.write_json(pathlib.Path(folder) / FILE_NAME, body)

    @classmethod
    def load(
        cls, folder: str | pathlib.Path, *, dataset_access: str = "cache", cache_dir: str | None = None
    ) -> DatasetInfo:
        """Reads `folder`/dataset.json.

        Args:
            folder: a path or a URL.
            dataset_access, cache_dir: for a URL, see `storage.access`.

        Raises:
            UserError: the file is missing, of another contract version, malformed, or was edited.
        """
        if urls.is_remote(folder):
            url = urls.folder(folder)
            path = urls.join(url, FILE_NAME)
            body = json_files.loads(access.read_index(url), what=_WHAT, path=path, remedy=_REMEDY)
            info = cls._of(body, pathlib.Path(), path)
            root, streamed = access.prepare(url, dataset_access, info.data_hash, cache_dir)
            return dataclasses.replace(info, root=root, url=url, streamed=streamed)
        path = pathlib.Path(folder) / FILE_NAME
        return cls._of(json_files.load(path, what=_WHAT, remedy=_REMEDY), pathlib.Path(folder), path)

    @classmethod
    def _of(cls, body, root: pathlib.Path, path: str | pathlib.Path) -> DatasetInfo:
        file = json_files.of_value(body, _File, what=_WHAT, path=path, remedy=_REMEDY)
        try:
            normalisation = {name: Normalisation.parse(text) for name, text in file.normalisation.items()}
        except UserError as error:
            raise UserError(error.problem, path=path, remedy=_REMEDY) from error
        info = cls(
            root=root,
            normalisation=normalisation,
            labels=file.definition,
            **{name: getattr(file, name) for name in _AS_IN_THE_FILE},
        )
        if file.data_hash != _hash({name: body.get(name) for name in info._body()}):
            raise UserError("its data_hash does not match its contents: it was edited", path=path, remedy=_REMEDY)
        return info


# Fields of `DatasetInfo` that are copied from the file unchanged.
_AS_IN_THE_FILE = (
    "modalities", "reference_modality", "spacing_mm", "layout", "partitions", "shard_sha256", "crop",
    "window", "data_hash", "accepted", "patients",
)  # fmt: skip


def _hash(body: dict) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
