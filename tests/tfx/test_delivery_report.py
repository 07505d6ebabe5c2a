"""A delivery beside those before it: what is drift, and what is chance."""

import numpy as np
import pytest

pytest.importorskip("tfx", reason="needs TFX: make test-tfx")

from pipelines import curated_schema, delivery_report
from semicml_tf.errors import UserError


def cards(count, span=1, *, seed=0, partition="labelled", scale=1.0, spacing=4.0, prefix="C"):
    """Cards of a PET whose mean is about 1, and of lesions of about 20 ml."""
    random = np.random.default_rng([seed, span])
    made = []
    for number in range(count):
        card = {
            "case_id": f"{prefix}{span}{number:03d}",
            "partition": partition,
            "span": span,
            "pet/spacing_mm/slice": spacing,
            "pet/min": 0.0,
            "pet/mean": float(scale * random.normal(1.0, 0.1)),
            "pet/std": float(scale * random.normal(0.5, 0.05)),
        }
        if partition != "unlabelled":
            card |= {"lesion/volume_ml": float(random.lognormal(3, 0.5)), "lesion/count": float(random.integers(1, 4))}
        made.append(card)
    return made


@pytest.fixture(scope="module")
def schema():
    reference = cards(40) + cards(10, partition="unlabelled", prefix="U")
    return curated_schema.curated(curated_schema.inferred(reference), reference, widen=4.0)


def examine(schema, *groups, span=2):
    return delivery_report.examine([card for group in groups for card in group], schema, span=span)


def test_the_same_scanner_is_no_drift_however_few_come(schema):
    for seed in range(4):
        for count in (1, 3, 8, 20):
            report = examine(schema, cards(30), cards(count, 2, seed=seed))
            assert report.passed, report.summary()
    assert {one.feature for one in report.drift} == {
        "pet/spacing_mm/slice", "pet/mean", "pet/std", "lesion/volume_ml", "lesion/count"
    }  # fmt: skip


def test_another_scale_is_drift_and_its_farthest_case_is_named(schema):
    delivered = cards(8, 2, scale=1.6)
    report = examine(schema, cards(30), delivered)
    assert {(one.kind, one.feature) for one in report.anomalies} == {("drift", "pet/mean"), ("drift", "pet/std")}
    far = max(delivered, key=lambda card: card["pet/mean"])
    (mean,) = [one for one in report.anomalies if one.feature == "pet/mean"]
    assert mean.case == far["case_id"] and mean.value > 0.9
    assert f"case {far['case_id']} with {far['pet/mean']:.4g}" in mean.text and "expected at most 0.3" in mean.text
    with pytest.raises(UserError, match="2 anomalies of case.*delivery 2 differs from the earlier ones in pet/mean"):
        report.refuse("delivery.json")


def test_another_spacing_is_drift_though_it_is_within_bounds(schema):
    report = examine(schema, cards(30), cards(6, 2, spacing=3.0))
    (found,) = report.anomalies
    assert (found.kind, found.feature, found.value) == ("drift", "pet/spacing_mm/slice", pytest.approx(1))


def test_a_delivery_that_drifted_is_found_though_another_came_since(schema):
    report = examine(schema, cards(30), cards(8, 2, scale=1.6), cards(8, 3), span=3)
    assert not report.passed and (report.span, report.new, report.before) == (3, 8, 38)
    assert any("delivery 2 differs" in one.text for one in report.anomalies)
    assert {one.span for one in report.drift} == {2, 3} and {one.span for one in report.skew} <= {None}
    assert examine(schema, cards(30), cards(8, 2), cards(8, 3), span=3).passed


def test_skew_of_labelled_and_unlabelled(schema):
    report = examine(schema, cards(20), cards(12, partition="unlabelled", scale=1.5, prefix="U"), span=1)
    assert {(one.kind, one.feature) for one in report.anomalies} == {("skew", "pet/mean"), ("skew", "pet/std")}
    assert "labelled cases differ from unlabelled ones" in report.summary() and not report.drift


@pytest.mark.parametrize(
    "change,kind,text",
    [
        ({"pet/mean": 1000.0}, "domain", "pet/mean is 1000, expected 0 to "),
        ({"pet/mean": float("nan")}, "domain", "pet/mean is nan, expected"),
        ({"pet/spacing_mm/slice": 14.0}, "domain", "pet/spacing_mm/slice is 14, expected"),
        ({"lesion/volume_ml": 9e4}, "domain", "lesion/volume_ml is 9e\\+04, expected 0 to"),
        ({"pet/mean": None}, "missing", "pet/mean is missing, expected a value"),
        ({"lesion/volume_ml": None}, "missing", "lesion/volume_ml is missing"),
        ({"mr/mean": 3.0}, "unexpected", "mr/mean is 3, expected a feature of the schema"),
        (
            {"partition": "unlabelled", "lesion/volume_ml": None},
            "unexpected",
            "lesion/count is .*partition 'unlabelled'",
        ),
    ],
)
def test_one_case_that_is_not_as_the_schema_says(schema, change, kind, text):
    (card,) = cards(1, 2)
    card = {name: value for name, value in {**card, **change}.items() if value is not None}
    (found,) = delivery_report.of_case(card, schema)
    assert found.kind == kind and found.case == "C2000"
    with pytest.raises(UserError, match=f"delivery.json: case C2000 of delivery 2: {text}") as caught:
        delivery_report.Report(2, 1, 0, (found,)).refuse("delivery.json")
    assert "\n" not in caught.value.line


def test_bounds():
    bounds = curated_schema.bounds
    assert bounds("ct/spacing_mm/row", 4.0, 4.0) == pytest.approx((4 / 1.5, 6))
    assert bounds("lesion/volume_ml", 3.0, 10.0) == (0, 40)
    assert bounds("ct/mean", -50.0, -30.0) == (-70, -10)
    assert bounds("pet/body_fraction", 0.5, 0.9) == pytest.approx((0.1, 1))
    assert bounds("ct/mean", -50.0, -30.0, widen=0.5) == (-60, -20)


def test_what_nobody_below_zero_was_seen_of_stays_above(schema):
    domains = {feature.name: feature.float_domain for feature in schema.feature}
    assert domains["pet/mean"].min == 0 and domains["pet/mean"].disallow_nan
    (lesion,) = [feature for feature in schema.feature if feature.name == "lesion/volume_ml"]
    assert lesion.not_in_environment[:] == ["unlabelled"] and not lesion.HasField("skew_comparator")


def test_the_validators_word_is_told_where_no_case_tells_it(schema):
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    told = anomalies_pb2.Anomalies()
    for name in ("pet/mean", "pet/std"):
        told.anomaly_info[name].description = f"{name} is odd"
        told.anomaly_info[name].short_description = "odd"
    (card,) = cards(1)
    report = delivery_report.examine([{**card, "pet/mean": 99.0}], schema, span=1, validator={"test": told})
    assert [(one.kind, one.feature) for one in report.anomalies] == [("domain", "pet/mean"), ("schema", "pet/std")]
    assert report.anomalies[1].text == "partition 'test': pet/std: pet/std is odd"
