"""The curated schema of a study: what the numbers on a case's card may be, and how far a delivery may move them.

    python -m pipelines.curated_schema --dataset=DATASET --output=schema.pbtxt

Made once, from the first delivery, and then read and edited by people: every bound is what that delivery shows,
widened. In the environment of TFX (make pipeline).
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.system import atomic_files

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

# Environments of the schema: cases whose masks may be read, and the others.
LABELLED, UNLABELLED = "labelled", "unlabelled"
# Which numbers a delivery as a whole is compared by, by the last part of their names.
_COMPARED = ("slice", "row", "column", "mean", "std", "p50", "p99.5", "body_fraction", "volume_ml", "count", "fraction")
_NOT_COMPARED = ("shape",)  # as extent_mm and spacing_mm say

DRIFT = SKEW = 0.3


@dataclasses.dataclass(frozen=True, kw_only=True)
class CuratedSchemaConfig:
    """Options of the command."""

    dataset: str = option(help="Folder of a converted dataset: the first delivery.", path=True)
    output: str = option(help="File to write.", path=True)
    widen: float = option(1.0, help="How far the bounds exceed the range of the data, in widths of this range.", low=0)
    overwrite: bool = option(False, help="Replace an existing schema, edits included.")

    def __post_init__(self):
        check(self)


CONFIG = CuratedSchemaConfig


def main(config: CuratedSchemaConfig) -> None:
    """Writes the schema of the dataset's cards."""
    output = pathlib.Path(config.output)
    if output.exists() and not config.overwrite:
        raise UserError("there is a schema already", path=output, remedy="Edit it, or pass --overwrite")
    from google.protobuf import text_format

    cards = case_cards.load(config.dataset)
    schema = curated(inferred(cards), cards, widen=config.widen)
    head = f"# What the cards of cases may say: made by python -m pipelines.curated_schema from {len(cards)} cases.\n"
    atomic_files.write_text(output, head + text_format.MessageToString(schema))
    compared = sum(feature.HasField("drift_comparator") for feature in schema.feature)
    print(f"{output}: {len(schema.feature)} features, {compared} compared between deliveries; read and edit it")


def tfdv():
    """TensorFlow Data Validation. Its locked version asks tfx_bsl for a module that TFX's import provides."""
    importlib.import_module("tfx")
    return importlib.import_module("tensorflow_data_validation")


def statistics(cards: Sequence[case_cards.Card]) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of cards."""
    import pandas

    return tfdv().generate_statistics_from_dataframe(pandas.DataFrame([dict(card) for card in cards]))


def inferred(cards: Sequence[case_cards.Card]) -> schema_pb2.Schema:
    """What TFDV takes from cards, as SchemaGen does."""
    return tfdv().infer_schema(statistics(cards), infer_feature_shape=False)


def curated(
    schema: schema_pb2.Schema,
    cards: Sequence[case_cards.Card],
    *,
    widen: float = 1.0,
    drift: float = DRIFT,
    skew: float = SKEW,
) -> schema_pb2.Schema:
    """A schema with bounds, presence and comparators.

    Args:
        schema: inferred from `cards`.
        cards: of the first delivery.
        widen: how far the bounds go beyond what the cards show, in widths of what they show.
        drift: the most that a delivery may differ from those before it, as a Jensen-Shannon divergence (0 = the same
            distribution, 1 = nothing in common).
        skew: likewise for labelled and unlabelled cases.
    """
    made = type(schema)()
    # Modalities that nothing below 0 was seen of, such as SUV.
    positive = {
        name.removesuffix("/min")
        for name in {name for card in cards for name in card if name.endswith("/min")}
        if all(card.get(name, 0.0) >= 0 for card in cards)
    }
    made.default_environment.extend([LABELLED, UNLABELLED])
    for feature in schema.feature:
        kept = made.feature.add()
        kept.name, kept.type = feature.name, feature.type
        kept.value_count.min = kept.value_count.max = 1
        held = [card[feature.name] for card in cards if feature.name in card]
        of_lesion = case_cards.is_of_a_lesion(feature.name)
        if of_lesion:
            kept.not_in_environment.append(UNLABELLED)
        elif len(held) == len(cards):
            kept.presence.min_fraction, kept.presence.min_count = 1.0, 1
        if feature.name == case_cards.PARTITION:
            kept.string_domain.value.extend(PARTITIONS)
        elif feature.name == case_cards.SPAN:
            kept.int_domain.min = 0
        elif feature.name != case_cards.CASE:
            _bound(kept, held, widen, at_least_zero=feature.name.split("/")[0] in positive)
            if _is_compared(feature.name):
                kept.drift_comparator.jensen_shannon_divergence.threshold = drift
                if not of_lesion:
                    kept.skew_comparator.jensen_shannon_divergence.threshold = skew
    return made


def _is_compared(name: str) -> bool:
    *above, last = name.split("/")
    return last in _COMPARED and not set(above) & set(_NOT_COMPARED)


def _bound(feature: schema_pb2.Feature, held: Sequence[float], widen: float, *, at_least_zero: bool) -> None:
    low, high = bounds(feature.name, min(held), max(held), widen)
    low = max(low, 0.0) if at_least_zero else low
    feature.float_domain.min, feature.float_domain.max = (float(f"{bound:.4g}") for bound in (low, high))
    feature.float_domain.disallow_nan = feature.float_domain.disallow_inf = True


def bounds(name: str, low: float, high: float, widen: float = 1.0) -> tuple[float, float]:
    """What a number may be, from the smallest and the largest that were seen.

    Lengths by their ratio, sizes of lesions from nothing on, fractions within 0 to 1, intensities by their difference.
    """
    parts = set(name.split("/"))
    if parts & {"spacing_mm", "extent_mm", "shape"}:
        ratio = (1 + 0.5 * widen) * (high / low) ** (widen / 2)
        return low / ratio, high * ratio
    if parts & {"volume_ml", "count", "largest_extent_mm"}:
        return 0.0, high * (1 + 3 * widen)
    width = max(high - low, 0.1 * max(abs(low), abs(high)), 0.02) * widen
    if parts & {"body_fraction", "fraction", "covered"}:
        return max(low - width, 0.0), min(high + width, 1.0)
    return low - width, high + width


def read(path: str | os.PathLike) -> schema_pb2.Schema:
    """A schema of a file in protobuf's text format.

    Raises:
        UserError: it is not there, or is none.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    remedy = "Make it by python -m pipelines.curated_schema"
    try:
        return text_format.Parse(pathlib.Path(path).read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise UserError(f"expected a schema ({error.strerror})", path=path, remedy=remedy) from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"this is no schema ({error})", path=path, remedy=remedy) from error


if __name__ == "__main__":
    commandline.run("pipelines.curated_schema")
