"""Whether a delivery is like what came before, told by the cards of its cases: data first, then one line for people.

Case by case against the curated schema; then as a whole, by TFDV: each delivery against the earlier ones (drift),
labelled cases against unlabelled ones (skew). Histograms of a few cases differ by chance. So a divergence
above the schema's threshold counts only if a Kolmogorov-Smirnov test finds the two different, too (two-sided, p < .05
divided by the number of comparisons).
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
# What every case whose mask may be read has; the others have nothing of a lesion.
_OF_EVERY_LABEL = ("lesion/volume_ml", "lesion/count")
_REMEDY = "Mend or take away what is wrong; if it is right, edit the schema"


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """One thing that is not as the schema says.

    Attributes:
        kind: ``domain`` (a value out of bounds), ``missing``, ``unexpected`` (a feature that the schema does not
            know, or a lesion's where no mask may be read), ``drift``, ``skew`` or ``schema`` (as ExampleValidator
            tells it).
        case: its name, of drift and skew that of the case farthest off; "" where none can be named.
        feature: on its card.
        value: of the card, or the divergence; None where there is none.
        expected: in words.
        text: all of it, in one line.
    """

    kind: str
    case: str
    feature: str
    value: Any
    expected: str
    text: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two groups of cases beside each other, in one feature.

    Attributes:
        feature: on their cards.
        divergence: Jensen-Shannon, 0 to 1, of TFDV's histograms.
        threshold: of the schema.
        p: of the Kolmogorov-Smirnov test.
        differs: whether it is above the threshold and no chance.
        span: of drift, the delivery that is compared with those before it.
    """

    feature: str
    divergence: float
    threshold: float
    p: float
    differs: bool
    span: int | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """What a delivery's check found.

    Attributes:
        span: number of the newest delivery.
        new, before: how many cases it and the earlier ones have.
        anomalies: case by case, then of the whole.
        drift, skew: of every feature that was compared.
    """

    span: int
    new: int
    before: int
    anomalies: tuple[Anomaly, ...]
    drift: tuple[Comparison, ...] = ()
    skew: tuple[Comparison, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.anomalies

    def to_json(self) -> dict[str, Any]:
        """The contents of `delivery.json`."""
        return {"version": VERSION, "passed": self.passed, **dataclasses.asdict(self)}

    def summary(self) -> str:
        """One line."""
        if self.passed:
            compared = (
                f"{len({one.feature for one in self.drift})} features compared with {self.before} earlier cases"
                if self.drift
                else ""
            )
            return f"delivery {self.span}: {self.new} cases as expected{f', {compared}' if compared else ''}"
        first = self.anomalies[0].text
        if len(self.anomalies) == 1:
            return first
        names = list(dict.fromkeys(anomaly.case for anomaly in self.anomalies if anomaly.case))
        told = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        whose = f" of case{'s' if len(names) != 1 else ''} {told}" if names else ""
        return f"{len(self.anomalies)} anomalies{whose}, the first: {first}"

    def refuse(self, path) -> None:
        """Stops where something was found.

        Args:
            path: where the report lies.

        Raises:
            UserError: the first anomaly, and whose the others are.
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
        schema: curated.
        span: the newest delivery.
        validator: by partition, what ExampleValidator found; told where the cases' own values do not tell it already.
    """
    anomalies = [anomaly for card in cards for anomaly in of_case(card, schema)]
    new = [card for card in cards if card[SPAN] == span]
    numbers = sorted({card[SPAN] for card in cards})
    labelled, unlabelled = (
        [card for card in cards if (card[PARTITION] == curated_schema.UNLABELLED) == is_unlabelled]
        for is_unlabelled in (False, True)
    )
    # Each delivery with those before it: one that was stopped must not become what the next is compared with.
    drift = []
    for rounds, number in enumerate(numbers[1:], start=1):
        these, those = _apart(cards, number)
        found = compare(these, those, schema, "drift", rounds=rounds)
        anomalies += [_of_groups("drift", one, these, those, number) for one in found if one.differs]
        drift += [dataclasses.replace(one, span=number) for one in found]
    skew = compare(labelled, unlabelled, schema, "skew")
    anomalies += [_of_groups("skew", one, labelled, unlabelled, span) for one in skew if one.differs]
    anomalies += _of_validator(validator or {}, {anomaly.feature for anomaly in anomalies})
    return Report(span, len(new), len(cards) - len(new), tuple(anomalies), tuple(drift), tuple(skew))


def _apart(cards: Sequence[Card], span: int) -> tuple[list[Card], list[Card]]:
    """The cards of a delivery, and those of the earlier ones."""
    return [card for card in cards if card[SPAN] == span], [card for card in cards if card[SPAN] < span]


def of_case(card: Card, schema: schema_pb2.Schema) -> list[Anomaly]:
    """What is wrong with one case's card."""
    whose = f"case {card[CASE]} of delivery {card[SPAN]}"
    without_lesion = card[PARTITION] == curated_schema.UNLABELLED
    features = {feature.name: feature for feature in schema.feature}
    found = []

    def odd(kind: str, name: str, value: Any, expected: str, what: str) -> None:
        found.append(Anomaly(kind, card[CASE], name, value, expected, f"{whose}: {name} {what}, expected {expected}"))

    for name, feature in features.items():
        if name not in card:
            required = feature.presence.min_fraction == 1 or (name in _OF_EVERY_LABEL and not without_lesion)
            if required:
                odd("missing", name, None, "a value", "is missing")
            continue
        value = card[name]
        if without_lesion and is_of_a_lesion(name):
            odd("unexpected", name, value, "nothing of a lesion in the partition 'unlabelled'", f"is {_told(value)}")
        elif feature.HasField("float_domain"):
            low, high = _ends(feature.float_domain)
            if not _is_within(value, low, high):
                odd("domain", name, value, f"{low:g} to {high:g}", f"is {_told(value)}")
    for name in card:
        if name not in features:
            odd("unexpected", name, card[name], "a feature of the schema", f"is {_told(card[name])}")
    return found


def _ends(domain: schema_pb2.FloatDomain) -> tuple[float, float]:
    return domain.min if domain.HasField("min") else -math.inf, domain.max if domain.HasField("max") else math.inf


def _is_within(value: float, low: float, high: float) -> bool:
    """Whether a value is in bounds, both of which are float32 numbers; NaN is in none."""
    return low <= value <= high or math.isclose(value, low, rel_tol=1e-6) or math.isclose(value, high, rel_tol=1e-6)


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def compare(
    these: Sequence[Card], those: Sequence[Card], schema: schema_pb2.Schema, kind: str, *, rounds: int = 1
) -> list[Comparison]:
    """The first group beside the second, by the schema's comparators of that kind; one of so many rounds."""
    if not these or not those:
        return []
    statistics, other = curated_schema.statistics(these), curated_schema.statistics(those)
    beside = {"previous_statistics": other} if kind == "drift" else {"serving_statistics": other}
    told = curated_schema.tfdv().validate_statistics(statistics, schema, **beside)
    measured = [
        (info.path.step[0], measure)
        for info in told.drift_skew_info
        for measure in (info.drift_measurements if kind == "drift" else info.skew_measurements)
    ]
    measured = [
        (name, measure, _values(these, name), _values(those, name))
        for name, measure in measured
        if _values(these, name) and _values(those, name)
    ]
    return [
        _comparison(name, measure, a, b, tests=rounds * len(measured))
        for name, measure, a, b in sorted(measured, key=_by_name)
    ]


def _by_name(one: tuple) -> str:
    return one[0]


def _values(cards: Iterable[Card], name: str) -> list[float]:
    return [card[name] for card in cards if name in card]


def _comparison(name: str, measure, these: list[float], those: list[float], *, tests: int) -> Comparison:
    from scipy import stats

    p = float(stats.ks_2samp(these, those).pvalue)
    differs = measure.value > measure.threshold and p * tests < SIGNIFICANT
    return Comparison(name, float(measure.value), float(measure.threshold), p, differs)


def _of_groups(kind: str, one: Comparison, these: Sequence[Card], those: Sequence[Card], span: int) -> Anomaly:
    usual = sorted(_values(those, one.feature))
    median = usual[len(usual) // 2]
    far = max((card for card in these if one.feature in card), key=lambda card: abs(card[one.feature] - median))
    groups = {
        "drift": (f"delivery {span} differs from the earlier ones", "the earlier cases"),
        "skew": ("labelled cases differ from unlabelled ones", "unlabelled cases"),
    }
    what, others = groups[kind]
    expected = f"at most {one.threshold:g}"
    return Anomaly(
        kind,
        far[CASE],
        one.feature,
        one.divergence,
        expected,
        f"{what} in {one.feature}: divergence {one.divergence:.2g}, expected {expected} (p {one.p:.1g}); farthest off "
        f"is case {far[CASE]} with {_told(far[one.feature])}, {others} have {_told(usual[0])} to {_told(usual[-1])}",
    )


def _of_validator(validator: Mapping[str, anomalies_pb2.Anomalies], known: set[str]) -> list[Anomaly]:
    found = []
    for partition, anomalies in validator.items():
        for name, info in sorted(anomalies.anomaly_info.items()):
            if name not in known:
                text = f"partition '{partition}': {name}: {info.description}"
                found.append(Anomaly("schema", "", name, None, info.short_description, text))
    return found
