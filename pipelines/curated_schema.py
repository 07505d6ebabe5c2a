"""The curated schema of a study: bounds of the values on the cards of cases, and limits of drift and skew.

    python -m pipelines.curated_schema --dataset=DATASET --output=schema.pbtxt

The command makes the schema from the first delivery, with bounds that are wider than its range. People then review and
edit the schema. Needs the environment of TFX (make pipeline).
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

# Environments of the schema: cases with readable masks, and the others.
LABELLED, UNLABELLED = "labelled", "unlabelled"
# Features that are compared between groups of cases, by the last part of their names.
_COMPARED = ("slice", "row", "column", "mean", "std", "p50", "p99.5", "body_fraction", "volume_ml", "count", "fraction")
_NOT_COMPARED = ("shape",)  # redundant with extent_mm and spacing_mm

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
    """Writes the schema of the cards of a dataset."""
    output = pathlib.Path(config.output)
    if output.exists() and not config.overwrite:
        raise UserError("the schema already exists", path=output, remedy="Edit it, or pass --overwrite")
    from google.protobuf import text_format

    cards = case_cards.load(config.dataset)
    schema = curated(inferred(cards), cards, widen=config.widen)
    head = f"# Bounds of the cards of cases, made by python -m pipelines.curated_schema from {len(cards)} cases.\n"
    atomic_files.write_text(output, head + text_format.MessageToString(schema))
    compared = sum(feature.HasField("drift_comparator") for feature in schema.feature)
    print(f"{output}: {len(schema.feature)} features, {compared} compared between deliveries; read and edit it")


def tfdv():
    """TensorFlow Data Validation. Its locked version needs a module of tfx_bsl, which the import of TFX provides."""
    importlib.import_module("tfx")
    return importlib.import_module("tensorflow_data_validation")


def statistics(cards: Sequence[case_cards.Card]) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of cards, by TFDV."""
    import pandas

    return tfdv().generate_statistics_from_dataframe(pandas.DataFrame([dict(card) for card in cards]))


def inferred(cards: Sequence[case_cards.Card]) -> schema_pb2.Schema:
    """The schema that TFDV infers from cards, as in SchemaGen."""
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
        widen: how far the bounds exceed the range of the cards, in widths of this range.
        drift: largest Jensen-Shannon divergence between a delivery and the earlier ones (0 for equal, 1 for disjoint
            distributions).
        skew: largest divergence between labelled and unlabelled cases.
    """
    result = type(schema)()
    # Modalities without negative values, such as SUV.
    positive = {
        name.removesuffix("/min")
        for name in {name for card in cards for name in card if name.endswith("/min")}
        if all(card.get(name, 0.0) >= 0 for card in cards)
    }
    result.default_environment.extend([LABELLED, UNLABELLED])
    for feature in schema.feature:
        bounded = result.feature.add()
        bounded.name, bounded.type = feature.name, feature.type
        bounded.value_count.min = bounded.value_count.max = 1
        values = [card[feature.name] for card in cards if feature.name in card]
        of_lesion = case_cards.is_of_a_lesion(feature.name)
        if of_lesion:
            bounded.not_in_environment.append(UNLABELLED)
        elif len(values) == len(cards):
            bounded.presence.min_fraction, bounded.presence.min_count = 1.0, 1
        if feature.name == case_cards.PARTITION:
            bounded.string_domain.value.extend(PARTITIONS)
        elif feature.name == case_cards.SPAN:
            bounded.int_domain.min = 0
        elif feature.name != case_cards.CASE:
            _bound(bounded, values, widen, at_least_zero=feature.name.split("/")[0] in positive)
            if _is_compared(feature.name):
                bounded.drift_comparator.jensen_shannon_divergence.threshold = drift
                if not of_lesion:
                    bounded.skew_comparator.jensen_shannon_divergence.threshold = skew
    return result


def _is_compared(name: str) -> bool:
    *above, last = name.split("/")
    return last in _COMPARED and not set(above) & set(_NOT_COMPARED)


def _bound(feature: schema_pb2.Feature, values: Sequence[float], widen: float, *, at_least_zero: bool) -> None:
    low, high = bounds(feature.name, min(values), max(values), widen)
    low = max(low, 0.0) if at_least_zero else low
    feature.float_domain.min, feature.float_domain.max = (float(f"{bound:.4g}") for bound in (low, high))
    feature.float_domain.disallow_nan = feature.float_domain.disallow_inf = True


def bounds(name: str, low: float, high: float, widen: float = 1.0) -> tuple[float, float]:
    """Bounds of a feature from its smallest and largest value.

    Lengths are widened by their ratio. Sizes of lesions start at 0. Fractions stay within 0 and 1. Intensities are
    widened by their difference.
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
    """Reads a schema in the text format of protobuf.

    Raises:
        UserError: the file is missing, or is no schema.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    remedy = "Make it by python -m pipelines.curated_schema"
    try:
        return text_format.Parse(pathlib.Path(path).read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise UserError(f"expected a schema ({error.strerror})", path=path, remedy=remedy) from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f"expected a schema, got something else ({error})", path=path, remedy=remedy) from error


if __name__ == "__main__":
    commandline.run("pipelines.curated_schema")
