"""What --plan=auto chooses, on hand-made fingerprints, and that a user's own flag stays."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.conversion.planning import plan as plans
from semicml_tf.conversion.planning.fingerprint import Fingerprint, fingerprint
from semicml_tf.conversion.planning.plan import plan
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.conversion.verification.statistics import image_facts
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid


def one(value, spread=0.0):
    shares = {"min": -1, "p5": -1, "p25": -0.5, "median": 0, "p75": 0.5, "p95": 1, "max": 1}
    return {share: value * (1 + spread * where) for share, where in shares.items()}


def image(spacing, body, *, percentiles=(1, 50, 100), low=0.0, high=200.0, integral=1.0, spread=0.2):
    """A modality of spacing (slice, row, column) whose body measures `body` mm, `spread` of it more or less."""
    axes = ("slice", "row", "column")
    return {
        "cases": 5,
        "spacing_mm": {axis: one(value) for axis, value in zip(axes, spacing)},
        "extent_mm": {axis: one(value, spread) for axis, value in zip(axes, body)},
        "body_extent_mm": {axis: one(value, spread) for axis, value in zip(axes, body)},
        "min": one(low),
        "max": one(high),
        "integral": integral,
        "percentiles": {share: one(value) for share, value in zip(("0.5", "50", "99.5"), percentiles)},
    }


def made(**images):
    return Fingerprint(5, 0, images, None)


def settings(*names, normalisation=(), spacing=(0, 0, 0), reference=""):
    return Settings.parse(
        modalities=names,
        reference_modality=reference,
        spacing_mm=spacing,
        normalisation=normalisation,
        label_values=[1],
        background_values=[0],
        allow_empty_labels=False,
        planned=True,
    )


CT = {"percentiles": (-150, 40, 900), "low": -1000, "high": 1500}
PET = {"percentiles": (0.1, 0.6, 8.0), "low": 0, "high": 20, "integral": 0}
STS = made(ct=image((3.27, 1.953, 1.953), (160, 133, 133), **CT), pet=image((3.27, 5.47, 5.47), (160, 130, 130), **PET))
BRATS = made(t2=image((1, 1, 1), (140, 172, 138), spread=0.1), t1ce=image((1, 1, 1), (140, 172, 138), spread=0.1))


def test_sarcoma_comes_out_as_chosen_by_hand():
    found = plan(STS, settings("ct", "pet"))
    assert found.settings.spacing_mm == (3.27, 3.3, 3.3) and found.window == 64
    assert {name: str(how) for name, how in found.settings.normalisation.items()} == {
        "ct": "hu:-200:300",
        "pet": "suv:0:15",
    }
    assert [reason.split(":")[0] for reason in found.reasons] == [
        "--spacing_mm=3.27,3.3,3.3",
        "--window=64",
        "--normalisation=ct=hu",
        "--normalisation=pet=suv",
    ]
    # Only what was asked of it is another.
    untouched = dataclasses.replace(found.settings, spacing_mm=(0, 0, 0), normalisation={})
    assert untouched == dataclasses.replace(settings("ct", "pet"), spacing_mm=(0, 0, 0), normalisation={})


def test_brats_keeps_its_millimetre():
    found = plan(BRATS, settings("t2", "t1ce"))
    assert found.settings.spacing_mm == (1, 1, 1) and found.window == 192
    assert all(how.kind == "percentile" for how in found.settings.normalisation.values())


def test_slices_follow_the_reference():
    images = {"ct": image((2.0, 1, 1), (160, 133, 133), **CT), "pet": image((5.0, 4, 4), (160, 130, 130), **PET)}
    assert plan(made(**images), settings("ct", "pet")).settings.spacing_mm == (2, 2, 2)
    assert plan(made(**images), settings("ct", "pet", reference="pet")).settings.spacing_mm == (5, 2, 2)


def test_a_trunk_is_made_to_fit_the_largest_window():
    """CT 1 mm and PET 4 mm would give 2 mm; 600 mm of body need 2.4."""
    images = {"ct": image((3, 1, 1), (900, 400, 600), **CT), "pet": image((3, 4, 4), (900, 400, 600), **PET)}
    found = plan(made(**images), settings("ct", "pet"))
    assert found.settings.spacing_mm == (3, 2.4, 2.4) and found.window == 256
    assert "covers the median body (250 pixels)" in found.reasons[1]


def test_fine_images_are_cut_into_windows_rather_than_blurred():
    images = {name: image((3, 0.45, 0.45), (150, 180, 150)) for name in ("t1", "t2")}
    found = plan(made(**images), settings("t1", "t2"))
    assert found.settings.spacing_mm == (3, 0.45, 0.45) and found.window == 256
    assert "cut into several windows" in found.reasons[1]


@pytest.mark.parametrize("extent", [3, 17, 60, 95, 150, 400, 5000])
@pytest.mark.parametrize("pet", [0.05, 1, 2, 7, 300])
def test_whatever_comes_out_can_be_used(extent, pet):
    images = {"ct": image((2, 1, 1), (extent,) * 3, **CT), "pet": image((2, pet, pet), (extent,) * 3, **PET)}
    found = plan(made(**images), settings("ct", "pet"))
    assert found.window % 16 == 0 and 32 <= found.window <= 256
    # --spacing_mm takes it back.
    assert (
        settings("ct", "pet", spacing=[float(f"{mm:g}") for mm in found.settings.spacing_mm]).spacing_mm
        == found.settings.spacing_mm
    )
    assert min(1, pet) <= found.settings.spacing_mm[1] + 0.1 and found.settings.spacing_mm[1] <= max(1, pet) * 1.05


def test_given_spacing_stays_and_the_window_follows_it():
    found = plan(STS, settings("ct", "pet", spacing=(3, 2, 4)), {"spacing_mm"})
    assert found.settings.spacing_mm == (3, 2, 4) and found.window == 80  # 133 * 1.2 / 2
    assert found.reasons[0] == "--spacing_mm=3,2,4: as given"
    own = plan(STS, settings("ct", "pet"), {"spacing_mm"})
    assert own.settings.spacing_mm == (0, 0, 0) and own.window == 96  # 133 * 1.2 / 1.953


def test_given_window_stays_and_the_spacing_follows_it():
    found = plan(STS, settings("ct", "pet"), window=32)
    assert found.window == 32 and found.settings.spacing_mm == (3.27, 4.2, 4.2)  # 133 / 32


def test_given_normalisation_stays():
    kept = settings("ct", "pet", normalisation=["ct=hu:-1000:1000", "pet=percentile:1:99"])
    found = plan(STS, kept, {"normalisation"})
    assert found.settings.normalisation == kept.normalisation
    assert "--normalisation=ct=hu:-1000:1000: as given" in found.reasons


def test_one_modality_given_the_other_guessed():
    images = {"low_dose": image((3, 1, 1), (160, 133, 133), **CT), "tracer": image((3, 4, 4), (160, 130, 130), **PET)}
    user = settings("low_dose", "tracer", normalisation=["low_dose=hu:-500:500"])
    found = plan(made(**images), user, {"normalisation=low_dose"})
    assert {name: str(how) for name, how in found.settings.normalisation.items()} == {
        "low_dose": "hu:-500:500",
        "tracer": "suv:0:15",
    }
    assert "a guess" in found.reasons[-1] and "a guess" not in found.reasons[-2]


@pytest.mark.parametrize(
    "facts, expected",
    [
        (CT, "hu:-200:300"),
        (PET, "suv:0:15"),
        ({"percentiles": (5, 300, 1000), "low": 0, "high": 4000}, "percentile:0.5:99.5"),  # MR as stored
        ({"percentiles": (0.2, 1.0, 3.0), "high": 6, "integral": 0}, "percentile:0.5:99.5"),  # MR over its mean
        ({"percentiles": (-2, 0.1, 3.0), "low": -2, "high": 4, "integral": 0}, "percentile:0.5:99.5"),  # z-score
        ({"percentiles": (0.01, 0.1, 0.9), "high": 1, "integral": 0}, "percentile:0.5:99.5"),  # 0 to 1
        ({"percentiles": (9, 900, 9e4), "high": 3e5, "integral": 0}, "percentile:0.5:99.5"),  # Bq/ml
    ],
)
def test_the_normalisation_of_unknown_names_is_reported_as_a_guess(facts, expected):
    found = plan(made(x=image((1, 1, 1), (100, 100, 100), **facts)), settings("x"))
    assert str(found.settings.normalisation["x"]) == expected
    assert "a guess" in found.reasons[-1]


def test_known_names_are_not_guessed_but_doubted():
    # Stored without rescaling to HU: a guess would say percentile.
    raw = {"percentiles": (900, 1060, 1900), "low": 24, "high": 2500}
    found = plan(made(ct=image((1, 1, 1), (100, 100, 100), **raw)), settings("ct"))
    assert str(found.settings.normalisation["ct"]) == "hu:-200:300"
    assert "1060, outside this window" in found.reasons[-1] and "Hounsfield" in found.reasons[-1]


def test_a_modality_without_cases_is_refused():
    with pytest.raises(UserError, match="'pet'"):
        plan(made(ct=STS.images["ct"]), settings("ct", "pet"))


def test_volumes_without_a_body_are_planned_by_their_extent():
    grid = Grid((40, 50, 20), np.diag([1.0, 1.0, 3.0, 1.0]))
    facts = image_facts(np.zeros(grid.shape, np.float32), grid, "percentile")
    found = plan(fingerprint([CaseReport("c", (), {"x": facts}, None, {})]), settings("x"))
    assert found.settings.spacing_mm == (3, 1, 1) and found.window == 64
    assert "all values are 0" in found.reasons[-1]


def test_the_rules_name_their_numbers():
    for number in (plans.WINDOW_STEP, plans.LEAST_WINDOW, plans.LARGEST_WINDOW):
        assert str(number) in plans.__doc__
