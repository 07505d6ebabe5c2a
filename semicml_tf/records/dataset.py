"""`dataset.json`: what a folder of shards holds. Written by conversion, read through this view alone."""

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
    """Where a case lies.

    Attributes:
        case_id: name of the case.
        shard: file name beside `dataset.json`.
        index: position of the record in it.
        shape: (slices, rows, columns) on the network's grid.
        lesion_slices: slices with a voxel of any class; None if the case is unlabelled.
        modalities: images that the record holds; () = all of the dataset's.
        class_slices: by class, slices with a voxel of it; empty if the case is unlabelled or the target is plain.
        annotated_slices: slices with a voxel that is not ignored; None if the case is unlabelled or nothing is ignored.
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
        _ = self.definition  # refuses values of which no definition is made
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
            raise ValueError(f"expected patients of cases, got {sorted(unknown)[0]!r}, which is no case")
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
        """The target of either version."""
        return self.labels.definition() if self.labels else LabelDefinition.plain(self.label_values)


class Origin(TypedDict, total=False):
    """What conversion notes in `dataset.json` of how it was made, outside the hash."""

    command: str
    source: str
    versions: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The contents of `dataset.json`.

    Attributes:
        root: the folder; that of its copies if it was read from a URL.
        modalities: their names, in the order of the conversion.
        reference_modality: whose box the network's grid covers.
        spacing_mm: (slice, row, column) of the network's grid; 0 = each case's own.
        normalisation: by modality name.
        labels: what is segmented.
        layout: of the source files.
        partitions: cases by partition name.
        shard_sha256: by file name.
        crop: "body" where records hold the body's box of their grid, "none" where they hold all of it.
        window: side in pixels of the slices that the conversion's plan advises for training; None = not planned.
        accepted: codes of verification's errors that the user accepted; see `plausibility.ACCEPTABLE`.
        data_hash: of everything above and the shards' bytes.
        patients: the patient of each case whose name is not the patient's, by case; no part of the hash.
        url: where it was read from, if from a URL.
        streamed: whether its shards are read there each time, instead of being copied to `root`.
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
        """What reads it again from anywhere: a URL or an absolute path."""
        return self.url or str(self.root.absolute())

    @property
    def where(self) -> str:
        """For people: where its shards are read from."""
        if not self.url:
            return str(self.root)
        return f"{self.url}: read where it lies" if self.streamed else f"{self.url}: shards are kept in {self.root}"

    def shard_path(self, shard: str) -> str:
        """Path of a shard, as tf.data takes it; a URL where it is streamed."""
        return urls.join(self.url, shard) if self.streamed else str(self.root / shard)

    def cases(self, partition: str) -> tuple[CaseEntry, ...]:
        """The cases of a partition.

        Raises:
            UserError: it holds none.
        """
        entries = self.partitions.get(partition, ())
        if not entries:
            held = {name: len(cases) for name, cases in self.partitions.items() if cases}
            raise UserError(
                f"expected cases in partition '{partition}', got {held}",
                path=urls.join(self.location, FILE_NAME),
                remedy="Give that partition cases in the split and convert again",
            )
        return entries

    def modalities_of(self, case: CaseEntry) -> tuple[str, ...]:
        """The modalities that the record of `case` holds, in the dataset's order."""
        return case.modalities or self.modalities

    @property
    def contract_version(self) -> int:
        """Of its records and of `dataset.json`: a plain target keeps the version, and the hash, of before."""
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
            # Left out where there is nothing in it, so that the hash of other data stays what it was.
            **({"accepted": list(self.accepted)} if self.accepted else {}),
        }

    def with_hash(self) -> DatasetInfo:
        """This, with `data_hash` computed."""
        return dataclasses.replace(self, data_hash=_hash(self._body()))

    def save(self, folder: str | pathlib.Path, **extra) -> None:
        """Writes `dataset.json` into `folder`; `extra` (how it was made) is kept beside, outside the hash."""
        # Outside the hash, too, so that the hash of such data stays what it was before there were patients.
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
            dataset_access, cache_dir: of a URL: the flags of `storage.access`.

        Raises:
            UserError: it is missing, of another contract version, or lacks a field.
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
        held = json_files.of_value(body, _File, what=_WHAT, path=path, remedy=_REMEDY)
        try:
            normalisation = {name: Normalisation.parse(text) for name, text in held.normalisation.items()}
        except UserError as error:
            raise UserError(error.problem, path=path, remedy=_REMEDY) from error
        info = cls(
            root=root,
            normalisation=normalisation,
            labels=held.definition,
            **{name: getattr(held, name) for name in _AS_IN_THE_FILE},
        )
        if held.data_hash != _hash({name: body.get(name) for name in info._body()}):
            raise UserError("its data_hash does not match its contents: it was edited", path=path, remedy=_REMEDY)
        return info


# Fields of `DatasetInfo` that are read as they are.
_AS_IN_THE_FILE = (
    "modalities", "reference_modality", "spacing_mm", "layout", "partitions", "shard_sha256", "crop",
    "window", "data_hash", "accepted", "patients",
)  # fmt: skip


def _hash(body: dict) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
