"""`dataset.json`: what a folder of shards holds. Written by conversion, read through this view alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

from semicml_tf import atomic
from semicml_tf.errors import UserError
from semicml_tf.normalisation import Normalisation
from semicml_tf.records.contract import CONTRACT_VERSION, PARTITIONS
from semicml_tf.storage import access
from semicml_tf.storage import url as urls

FILE_NAME = "dataset.json"
_REMEDY = "Make it with python -m semicml_tf.convert"


@dataclasses.dataclass(frozen=True)
class CaseEntry:
    """Where a case lies.

    Attributes:
        case_id: name of the case.
        shard: file name beside `dataset.json`.
        index: position of the record in it.
        shape: (slices, rows, columns) on the network's grid.
        lesion_slices: slices with a labelled voxel; None where the case is unlabelled.
        modalities: images that the record holds; () = all of the dataset's.
    """

    case_id: str
    shard: str
    index: int
    shape: tuple[int, int, int]
    lesion_slices: int | None
    modalities: tuple[str, ...] = ()


def _entry(body: dict) -> CaseEntry:
    return CaseEntry(**{**body, "shape": tuple(body["shape"]), "modalities": tuple(body["modalities"])})


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The contents of `dataset.json`.

    Attributes:
        root: the folder; that of its copies if it was read from a URL.
        modalities: the two names, in the order the user gave.
        reference_modality: whose box the network's grid covers.
        spacing_mm: (slice, row, column) of the network's grid; 0 = each case's own.
        normalisation: by modality name.
        label_values: values of the source's label map that are foreground.
        layout: of the source files.
        partitions: cases by partition name.
        shard_sha256: by file name.
        crop: "body" where records hold the body's box of their grid, "none" where they hold all of it.
        window: side in pixels of the slices that the conversion's plan advises for training; None = not planned.
        accepted: codes of verification's errors that the user accepted; see `plausibility.ACCEPTABLE`.
        data_hash: of everything above and the shards' bytes.
        url: where it was read from, if from a URL.
        streamed: whether its shards are read there each time, instead of being copied to `root`.
    """

    root: pathlib.Path
    modalities: tuple[str, ...]
    reference_modality: str
    spacing_mm: tuple[float, float, float]
    normalisation: dict[str, Normalisation]
    label_values: tuple[int, ...]
    layout: str
    partitions: dict[str, tuple[CaseEntry, ...]]
    shard_sha256: dict[str, str]
    crop: str = "none"
    window: int | None = None
    accepted: tuple[str, ...] = ()
    data_hash: str = ""
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

    def _body(self) -> dict:
        return {
            "contract_version": CONTRACT_VERSION,
            "modalities": list(self.modalities),
            "reference_modality": self.reference_modality,
            "spacing_mm": list(self.spacing_mm),
            "axis_order": ["slice", "row", "column"],
            "normalisation": {name: str(how) for name, how in self.normalisation.items()},
            "label_values": list(self.label_values),
            "layout": self.layout,
            "crop": self.crop,
            "window": self.window,
            "partitions": {
                name: [dataclasses.asdict(case) for case in self.partitions.get(name, ())] for name in PARTITIONS
            },
            "shard_sha256": self.shard_sha256,
            # Left out where there is nothing in it, so that the hash of other data stays what it was.
            **({"accepted": list(self.accepted)} if self.accepted else {}),
        }

    def with_hash(self) -> DatasetInfo:
        """This, with `data_hash` computed."""
        text = json.dumps(self._body(), sort_keys=True)
        return dataclasses.replace(self, data_hash=hashlib.sha256(text.encode()).hexdigest())

    def save(self, folder: str | pathlib.Path, **extra) -> None:
        """Writes `dataset.json` into `folder`; `extra` (how it was made) is kept beside, outside the hash."""
        atomic.write_json(pathlib.Path(folder) / FILE_NAME, {**self._body(), "data_hash": self.data_hash, **extra})

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
            info = cls._parse(json.loads(access.read_index(url)), pathlib.Path(), urls.join(url, FILE_NAME))
            root, streamed = access.prepare(url, dataset_access, info.data_hash, cache_dir)
            return dataclasses.replace(info, root=root, url=url, streamed=streamed)
        path = pathlib.Path(folder) / FILE_NAME
        body = atomic.read_json(path, what="a converted dataset", remedy=_REMEDY)
        return cls._parse(body, pathlib.Path(folder), path)

    @classmethod
    def _parse(cls, body, root: pathlib.Path, path: str | pathlib.Path) -> DatasetInfo:
        version = body.get("contract_version") if isinstance(body, dict) else None
        if version != CONTRACT_VERSION:
            raise UserError(
                f"expected a dataset of contract version {CONTRACT_VERSION}, got {version}",
                path=path,
                remedy="Convert the data again with python -m semicml_tf.convert of this version",
            )
        try:
            info = cls(
                root=root,
                modalities=tuple(body["modalities"]),
                reference_modality=body["reference_modality"],
                spacing_mm=tuple(body["spacing_mm"]),
                normalisation={name: Normalisation.parse(text) for name, text in body["normalisation"].items()},
                label_values=tuple(body["label_values"]),
                layout=body["layout"],
                partitions={name: tuple(_entry(case) for case in cases) for name, cases in body["partitions"].items()},
                shard_sha256=dict(body["shard_sha256"]),
                crop=body["crop"],
                window=body["window"],
                accepted=tuple(body.get("accepted", ())),
            ).with_hash()
        except (KeyError, TypeError) as error:
            raise UserError(f"a field is missing or wrong ({error})", path=path, remedy=_REMEDY) from error
        if info.data_hash != body.get("data_hash"):
            raise UserError("its data_hash does not match its contents: it was edited", path=path, remedy=_REMEDY)
        return info
