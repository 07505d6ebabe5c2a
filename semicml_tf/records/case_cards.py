"""`cards.json`: a few numbers per case of a dataset. They compare cases and deliveries without reading voxels.

| feature | content |
|---|---|
| `case_id`, `partition`, `span` | the case; `span`: number of the delivery that contains it, 0 without deliveries |
| `M/spacing_mm/A`, `M/shape/A`, `M/extent_mm/A` | of modality M's own grid; A is `slice`, `row` or `column` |
| `M/min`, `M/max` | of all voxels, in native units |
| `M/mean`, `M/std`, `M/p0.5` ... `M/p99.5` | of the body's voxels |
| `M/body_fraction` | of the voxels |
| `lesion/volume_ml`, `lesion/count` | of the mask as it was drawn; `lesion/count` of parts that do not touch |
| `lesion/fraction` | of the body's volume in the first modality |
| `lesion/largest_extent_mm` | longest side of one lesion's box; absent without a lesion |
| `M/lesion/mean`, `M/lesion/covered` | M's mean within the mask; fraction of the mask inside M's volume |

Cases of the partition `unlabelled` have no lesion feature: their masks are never read. All numbers except `span` are
floats. Conversion writes this file; only this module reads it.
"""

from __future__ import annotations

import gzip
import io
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Literal

from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.records import example_proto, tfrecord_file
from semicml_tf.system import atomic_files, json_files, tables
from semicml_tf.system.json_files import MAX_BYTES_OF_CASES, Count

FILE_NAME = "cards.json"
VERSION = 1
AXES = ("slice", "row", "column")
CASE, PARTITION, SPAN = "case_id", "partition", "span"
_REMEDY = "Make it with python -m semicml_tf.convert of this version"

_WHAT = "the cards of a dataset's cases"

# Features by name.
Card = Mapping[str, "float | int | str"]


class _Card(TypedDict):
    case_id: str
    partition: str
    span: Count


class _File(TypedDict):
    version: Literal[VERSION]
    cards: list[_Card]


def as_json(cards: Sequence[Card]) -> dict:
    """The contents of `cards.json`."""
    return {"version": VERSION, "cards": [dict(card) for card in cards]}


def load(folder: str | pathlib.Path) -> list[dict]:
    """Reads `folder`/cards.json.

    Raises:
        UserError: the file is missing or of another version, or a card has other features than those above.
    """
    path = pathlib.Path(folder) / FILE_NAME
    cards = json_files.read(path, _File, what=_WHAT, remedy=_REMEDY, max_bytes=MAX_BYTES_OF_CASES)["cards"]
    for card in cards:
        numbers = {name: value for name, value in card.items() if name not in (CASE, PARTITION)}
        wrong = next((name for name, value in numbers.items() if type(value) not in (int, float)), None)
        if wrong is not None:
            raise UserError(
                f"expected {_WHAT} with numbers only, but {wrong} of a case is not a number", path=path, remedy=_REMEDY
            )
    return cards


def table(cards: Sequence[Card]) -> str:
    """A text table with one line per case: spacing, mean and 99.5th percentile per modality, and the lesion."""
    names = list(dict.fromkeys(name.split("/")[0] for card in cards for name in card if name.endswith("/shape/slice")))
    head = ["case", "partition", "span"]
    for name in names:
        head += [f"{name} spacing mm", "mean", "99.5 %"]
    rows = [[*head, "lesions", "ml", "of body"]]
    for card in cards:
        row = [str(card[CASE]), str(card[PARTITION]), str(card[SPAN] or "-")]
        for name in names:
            spacing = [card.get(f"{name}/spacing_mm/{axis}") for axis in AXES]
            row.append("-" if None in spacing else " x ".join(f"{value:.3g}" for value in spacing))
            row += [_number(card.get(f"{name}/{what}")) for what in ("mean", "p99.5")]
        rows.append([*row, *(_number(card.get(f"lesion/{what}")) for what in ("count", "volume_ml", "fraction"))])
    return "".join(f"  {line}\n" for line in tables.aligned(rows))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def is_of_a_lesion(feature: str) -> bool:
    """Whether a feature describes a lesion."""
    return "lesion" in feature.split("/")


def example(card: Card) -> bytes:
    """A serialised tf.train.Example of scalars."""
    return example_proto.serialize({name: _feature(value) for name, value in card.items()})


def _feature(value: float | int | str) -> example_proto.Feature:
    if isinstance(value, str):
        return example_proto.raw(value.encode("utf-8"))
    return example_proto.ints([value]) if isinstance(value, int) else example_proto.floats([value])


def write_split(path: str | pathlib.Path, cards: Sequence[Card]) -> None:
    """Writes cards as a gzipped TFRecord file; the same cards give the same bytes."""

    def write_all(stream: BinaryIO) -> None:
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as zipped:
            for card in cards:
                tfrecord_file.write(zipped, example(card))

    atomic_files.write_file(path, write_all)


def read_split(path: str | pathlib.Path) -> list[dict]:
    """The cards of a file that `write_split` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(MAX_BYTES_OF_CASES + 1)
        if len(content) > MAX_BYTES_OF_CASES:
            raise ValueError(f"more than {MAX_BYTES_OF_CASES} bytes")
        return [_card(record) for record in tfrecord_file.read_all(io.BytesIO(content))]
    except (OSError, EOFError, ValueError, zlib.error, tfrecord_file.Damage) as error:
        raise UserError(f"these cards cannot be read ({error})", path=path, remedy="Make them again") from error


def _card(content: bytes) -> dict:
    return {name: _value(feature) for name, feature in example_proto.parse(content).items()}


def _value(feature: memoryview) -> float | int | str:
    for values in (example_proto.floats_of(feature), example_proto.ints_of(feature)):
        if values:
            return values[0]
    return str(example_proto.raw_of(feature), "utf-8")
