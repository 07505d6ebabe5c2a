"""Settings of conversion, checked; intensities by closed form."""

import math

import numpy as np
import pytest

from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.preprocessing import normalisation

GOOD = {
    "modalities": ["ct", "t2"],
    "reference_modality": "",
    "spacing_mm": [3, 0, 1.5],
    "normalisation": [],
    "label_values": [4, 1, 2],
    "background_values": [0],
    "allow_empty_labels": False,
}


def test_values_are_put_in_order():
    settings = Settings.parse(**GOOD)
    assert settings.reference_modality == "ct" and settings.spacing_mm == (3, 0, 1.5)
    assert settings.labels.values == (1, 2, 4)
    assert {name: str(how) for name, how in settings.normalisation.items()} == {
        "ct": "hu:-200:300",
        "t2": "percentile:0.5:99.5",
    }


def test_a_modality_is_known_in_any_spelling_and_an_unknown_one_needs_its_normalisation():
    names = ["CT", "PT", "T1_Gd", "FLAIR"]
    settings = Settings.parse(**{**GOOD, "modalities": names})
    kinds = {name: how.kind for name, how in settings.normalisation.items()}
    assert kinds == {"CT": "hu", "PT": "suv", "T1_Gd": "percentile", "FLAIR": "percentile"}
    assert Settings.parse(**{**GOOD, "modalities": ["suv"]}).normalisation["suv"].kind == "suv"
    unknown = {**GOOD, "modalities": ["ct", "tracer"]}
    with pytest.raises(UserError, match="'tracer'.*--normalisation=tracer=hu:-200:300 if it is CT.*--plan=auto"):
        Settings.parse(**unknown)
    given = Settings.parse(**{**unknown, "normalisation": ["tracer=suv:0:40"]})
    assert str(given.normalisation["tracer"]) == "suv:0:40"
    assert Settings.parse(**unknown, planned=True).normalisation["tracer"].kind == "percentile"


@pytest.mark.parametrize(
    "change,message",
    [
        ({"modalities": []}, "distinct names in --modalities"),
        ({"modalities": ["ct", "ct"]}, "distinct names"),
        ({"modalities": ["a/b"]}, "distinct names"),
        ({"reference_modality": "pet"}, "--reference_modality=pet is none of"),
        ({"spacing_mm": [1, 1, -1]}, "SLICE,ROW,COLUMN"),
        ({"spacing_mm": [1, 1, math.nan]}, "SLICE,ROW,COLUMN"),
        ({"spacing_mm": [1, 1, 0.001]}, "SLICE,ROW,COLUMN"),
        ({"normalisation": ["pet=suv:0:15"]}, "names 'pet'"),
        ({"normalisation": ["ct"]}, "MODALITY=KIND"),
        ({"normalisation": ["ct=hu:0:1", "ct=hu:0:2"]}, "each modality once"),
        ({"normalisation": ["ct=window:0:1"]}, "KIND one of"),
        ({"normalisation": ["ct=hu:1:0"]}, "LOW < HIGH"),
        ({"normalisation": ["ct=percentile:1:101"]}, "KIND:LOW:HIGH"),
        ({"label_values": []}, "apart from"),
        ({"label_values": [0, 1]}, "apart from"),
    ],
)
def test_refused(change, message):
    with pytest.raises(UserError, match=message):
        Settings.parse(**{**GOOD, **change})


@pytest.mark.parametrize(
    "text,values", [("hu:-200:300", [-500, -200, 50, 300, 900]), ("suv:0:15", [-1, 0, 7.5, 15, 40])]
)
def test_a_window_becomes_minus_one_to_one(text, values):
    volume = np.array(values, np.float32)
    constants = normalisation.Normalisation.parse(text).constants(volume)
    np.testing.assert_allclose(constants.apply(volume), [-1, -1, 0, 1, 1], atol=1e-6)


def test_percentiles_become_a_z_score_of_the_voxels_that_are_not_zero():
    body = np.arange(1, 1002, dtype=np.float32)
    volume = np.concatenate([np.zeros(5000, np.float32), body])
    constants = normalisation.Normalisation.parse("percentile:10:90").constants(volume)
    assert (constants.low, constants.high) == pytest.approx((101, 901))
    clipped = np.clip(body, 101, 901)
    assert (constants.center, constants.scale) == pytest.approx((501, clipped.std()))
    normalised = constants.apply(body)
    assert normalised.mean() == pytest.approx(0, abs=1e-5) and normalised.std() == pytest.approx(1, abs=1e-5)


def test_percentiles_do_not_depend_on_the_scale_of_the_scanner():
    volume = np.random.default_rng(0).gamma(2, 50, 4000).astype(np.float32)
    how = normalisation.Normalisation.parse("percentile:0.5:99.5")
    one, other = how.constants(volume).apply(volume), how.constants(8 * volume).apply(8 * volume)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_empty_image_stays_zero():
    volume = np.zeros((2, 3, 4), np.float32)
    np.testing.assert_array_equal(
        normalisation.Normalisation.parse("percentile:1:99").constants(volume).apply(volume), 0
    )
