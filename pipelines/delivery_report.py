"""Compares the cards of a delivery with the curated schema and with earlier deliveries.

The card of each case is compared with the schema. TFDV compares each delivery with the earlier ones (drift), and
labelled with unlabelled cases (skew). Histograms of few cases differ by chance. A divergence above the threshold of the
schema therefore counts only if a two-sided Kolmogorov-Smirnov test is significant, at .05 divided by the number of
comparisons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines import curated_schema
from semicml_tf.errors import UserError
from semicml_tf.records.case_cards import CASE, PARTITION, SPAN, Card, is_of_a_lesion

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

FILE_NAME = "delivery.json"
VERSION = 1
SIGNIFICANT = 0.05
# Features of all cases with a readable mask. Other cases have no lesion features.
_OF_EVERY_LABEL = ("lesion/volume_ml", "lesion/count")
_REMEDY = "Correct or remove the cases; if they are right, edit the schema"


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """A difference from the schema.

    Attributes:
        kind: ``domain`` (a value out of bounds), ``missing``, ``unexpected`` (a feature that is not in the schema, or a
            lesion feature of a case whose mask must not be read), ``drift``, ``skew`` or ``schema`` (reported by
            ExampleValidator).
        case: name of the case, for drift and skew the most distant one; "" for none.
        feature: name of the feature on the card.
        value: value on the card, or the divergence; None for none.
        expected: the expectation, as text.
        text: the anomaly in one line.
    """

    kind: str
    case: str
    feature: str
    value: Any
    expected: str
    text: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Comparison of one feature between two groups of cases.

    Attributes:
        feature: name of the feature.
        divergence: Jensen-Shannon divergence of the histograms of TFDV, 0 to 1.
        threshold: of the schema.
        p: p value of the Kolmogorov-Smirnov test.
        differs: whether the divergence is above the threshold and the test is significant.
        span: for drift, the delivery that is compared with the earlier ones.
    """

    feature: str
    divergence: float
    threshold: float
    p: float
    differs: bool
    span: int | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """Result of the check of a delivery.

    Attributes:
        span: number of the newest delivery.
        new, before: numbers of cases in the newest and in earlier deliveries.
        anomalies: first of single cases, then of groups.
        drift, skew: comparisons of all features.
    """

    span: int
    new: int
    before: int
    anomalies: tuple[Anomaly, ...]
    drift: tuple[Comparison, ...] = ()
    skew: tuple[Comparison, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there are no anomalies."""
        return not self.anomalies

    def to_json(self) -> dict[str, Any]:
        """The contents of `delivery.json`."""
        return {"version": VERSION, "passed": self.passed, **dataclasses.asdict(self)}

    def summary(self) -> str:
        """The result in one line."""
        if self.passed:
            features = len({comparison.feature for comparison in self.drift})
            compared = f", {features} features compared with {self.before} earlier cases" if self.drift else ""
            return f"delivery {self.span}: {self.new} cases as expected{compared}"
        first = self.anomalies[0].text
        if len(self.anomalies) == 1:
            return first
        names = list(dict.fromkeys(anomaly.case for anomaly in self.anomalies if anomaly.case))
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        whose = f" of case{'s' if len(names) != 1 else ''} {listed}" if names else ""
        return f"{len(self.anomalies)} anomalies{whose}, the first: {first}"

    def refuse(self, path) -> None:
        """Raises the anomalies as an error.

        Args:
            path: of the report, for the message.

        Raises:
            UserError: there are anomalies. The message has the first one and the names of cases.
        """
        if not self.passed:
            raise UserError(self.summary(), path=path, remedy=_REMEDY)


def examine(
    cards: Sequence[Card],
    schema: schema_pb2.Schema,
    *,
    span: int,
    validator: Mapping[str, anomalies_pb2.Anomalies] | None = None,
) -> Report:
    """Checks the cards of a dataset.

    Args:
        cards: of all cases.
        schema: the curated schema.
        span: number of the newest delivery.
        validator: anomalies of ExampleValidator, by partition. Those of features with other anomalies are ignored.
    """
    anomalies = [anomaly for card in cards for anomaly in of_case(card, schema)]
    new = [card for card in cards if card[SPAN] == span]
    numbers = sorted({card[SPAN] for card in cards})
    labelled, unlabelled = (
        [card for card in cards if (card[PARTITION] == curated_schema.UNLABELLED) == is_unlabelled]
        for is_unlabelled in (False, True)
    )
    # Each delivery is compared with all earlier ones, so that a refused delivery never becomes a silent reference.
    drift = []
    for rounds, number in enumerate(numbers[1:], start=1):
        these, earlier = _apart(cards, number)
        comparisons = compare(these, earlier, schema, "drift", rounds=rounds)
        anomalies += [_of_groups("drift", item, these, earlier, number) for item in comparisons if item.differs]
        drift += [dataclasses.replace(item, span=number) for item in comparisons]
    skew = compare(labelled, unlabelled, schema, "skew")
    anomalies += [_of_groups("skew", item, labelled, unlabelled, span) for item in skew if item.differs]
    anomalies += _of_validator(validator or {}, {anomaly.feature for anomaly in anomalies})
    return Report(span, len(new), len(cards) - len(new), tuple(anomalies), tuple(drift), tuple(skew))


def _apart(cards: Sequence[Card], span: int) -> tuple[list[Card], list[Card]]:
    """The cards of a delivery, and those of the earlier deliveries."""
    return [card for card in cards if card[SPAN] == span], [card for card in cards if card[SPAN] < span]


def of_case(card: Card, schema: schema_pb2.Schema) -> list[Anomaly]:
    """The anomalies of the card of one case."""
    whose = f"case {card[CASE]} of delivery {card[SPAN]}"
    without_lesion = card[PARTITION] == curated_schema.UNLABELLED
    features = {feature.name: feature for feature in schema.feature}
    anomalies = []

    def add(kind: str, name: str, value: Any, expected: str, received: str) -> None:
        text = f"{whose}: {name} {received}, expected {expected}"
        anomalies.append(Anomaly(kind, card[CASE], name, value, expected, text))

    for name, feature in features.items():
        if name not in card:
            required = feature.presence.min_fraction == 1 or (name in _OF_EVERY_LABEL and not without_lesion)
            if required:
                add("missing", name, None, "a value", "is missing")
            continue
        value = card[name]
        if without_lesion and is_of_a_lesion(name):
            add("unexpected", name, value, "no lesion feature in the partition 'unlabelled'", f"is {_text(value)}")
        elif feature.HasField("float_domain"):
            low, high = _ends(feature.float_domain)
            if not _is_within(value, low, high):
                add("domain", name, value, f"{low:g} to {high:g}", f"is {_text(value)}")
    for name in card:
        if name not in features:
            add("unexpected", name, card[name], "a feature of the schema", f"is {_text(card[name])}")
    return anomalies


def _ends(domain: schema_pb2.FloatDomain) -> tuple[float, float]:
    return domain.min if domain.HasField("min") else -math.inf, domain.max if domain.HasField("max") else math.inf


def _is_within(value: float, low: float, high: float) -> bool:
    """Whether a value is within float32 bounds; False for NaN."""
    return low <= value <= high or math.isclose(value, low, rel_tol=1e-6) or math.isclose(value, high, rel_tol=1e-6)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def compare(
    these: Sequence[Card], others: Sequence[Card], schema: schema_pb2.Schema, kind: str, *, rounds: int = 1
) -> list[Comparison]:
    """Compares two groups by the comparators of the schema.

    Args:
        these, others: cards of the groups.
        schema: the curated schema.
        kind: ``drift`` or ``skew``.
        rounds: number of comparisons of groups, by which the level of significance is divided.
    """
    if not these or not others:
        return []
    statistics, reference = curated_schema.statistics(these), curated_schema.statistics(others)
    option = {"previous_statistics": reference} if kind == "drift" else {"serving_statistics": reference}
    result = curated_schema.tfdv().validate_statistics(statistics, schema, **option)
    measured = [
        (info.path.step[0], measure)
        for info in result.drift_skew_info
        for measure in (info.drift_measurements if kind == "drift" else info.skew_measurements)
    ]
    measured = [
        (name, measure, _values(these, name), _values(others, name))
        for name, measure in measured
        if _values(these, name) and _values(others, name)
    ]
    return [
        _comparison(name, measure, a, b, tests=rounds * len(measured))
        for name, measure, a, b in sorted(measured, key=lambda item: item[0])
    ]


def _values(cards: Iterable[Card], name: str) -> list[float]:
    return [card[name] for card in cards if name in card]


def _comparison(name: str, measure, these: list[float], others: list[float], *, tests: int) -> Comparison:
    from scipy import stats

    p = float(stats.ks_2samp(these, others).pvalue)
    differs = measure.value > measure.threshold and p * tests < SIGNIFICANT
    return Comparison(name, float(measure.value), float(measure.threshold), p, differs)


def _of_groups(kind: str, comparison: Comparison, these: Sequence[Card], others: Sequence[Card], span: int) -> Anomaly:
    feature = comparison.feature
    reference = sorted(_values(others, feature))
    median = reference[len(reference) // 2]
    farthest = max((card for card in these if feature in card), key=lambda card: abs(card[feature] - median))
    groups = {
        "drift": (f"delivery {span} differs from the earlier ones", "the earlier cases"),
        "skew": ("labelled cases differ from unlabelled ones", "unlabelled cases"),
    }
    difference, noun = groups[kind]
    expected = f"at most {comparison.threshold:g}"
    return Anomaly(
        kind,
        farthest[CASE],
        feature,
        comparison.divergence,
        expected,
        f"{difference} in {feature}: divergence {comparison.divergence:.2g}, expected {expected} "
        f"(p {comparison.p:.1g}); farthest off is case {farthest[CASE]} with {_text(farthest[feature])}, {noun} have "
        f"{_text(reference[0])} to {_text(reference[-1])}",
    )


def _of_validator(validator: Mapping[str, anomalies_pb2.Anomalies], known: set[str]) -> list[Anomaly]:
    result = []
    for partition, anomalies in validator.items():
        for name, info in sorted(anomalies.anomaly_info.items()):
            if name not in known:
                text = f"partition '{partition}': {name}: {info.description}"
                result.append(Anomaly("schema", "", name, None, info.short_description, text))
    return result
