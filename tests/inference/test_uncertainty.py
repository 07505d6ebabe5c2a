"""Maps of uncertainty in closed form; flips, dropout and ensembles on stand-in networks whose answer is known."""

import dataclasses

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.exporting.publish import publish
from semicml_tf.inference import uncertainty
from semicml_tf.inference.segmenter_wrappers import Ensemble, Flipped, MonteCarlo, slice_seeds
from semicml_tf.inference.volume import Segmenter
from semicml_tf.labels import LESION
from semicml_tf.networks import catalogue
from semicml_tf.postprocessing.steps import Postprocessing
from tests.support import threshold_model
from tests.support.networks import unet

AFFINE = threshold_model.oblique()
VALUES = threshold_model.volume("ct", (20, 18, 5))
WINDOW = 16


class Standing(Segmenter):
    """A function of slices in place of a network."""

    def __init__(self, function, **changes):
        super().__init__(dataclasses.replace(threshold_model.manifest("ct"), **changes))
        self.slices = function


class Noisy(Standing):
    """Answers with a number in [0, 1) that is a function of each slice's seed alone."""

    def __init__(self, **changes):
        super().__init__(np.zeros_like, **changes)
        self.seen = []

    def dropout_slices(self, batch, seeds):
        assert len(seeds) == len(batch) and seeds.dtype == np.int32
        self.seen += seeds.tolist()
        return np.ones_like(batch) * (seeds / 2.0**31).astype(np.float32)[:, None, None, None]


def test_entropy_in_bits():
    found = uncertainty.binary_entropy(np.array([0.0, 0.5, 1.0, 0.25, 0.75, 1.0 + 1e-7], np.float32))
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)
    np.testing.assert_allclose(found, [0, 1, 0, quarter, quarter, 0], atol=1e-6)
    assert found.dtype == np.float32


def test_mutual_information():
    moments = uncertainty.Moments(entropies=True)
    # All sure and of one mind; sure and split in halves; all unsure alike; one of four against three.
    for number in range(4):
        # Two classes: the second one's map is the first one's reversed.
        drawn = np.array([1.0, number % 2, 0.5, number == 0], np.float32)
        moments.add([drawn, drawn[::-1].copy()])
    np.testing.assert_allclose(moments.mean(0), [1.0, 0.5, 0.5, 0.25])
    np.testing.assert_allclose(moments.mean(1), [0.25, 0.5, 0.5, 1.0])
    quarter = uncertainty.binary_entropy(np.array([0.25]))[0]
    np.testing.assert_allclose(moments.mutual_information(0), [0, 1, 0, quarter], atol=1e-6)
    np.testing.assert_allclose(moments.mutual_information(1), [quarter, 0, 1, 0], atol=1e-6)
    with pytest.raises(ValueError, match="after the mean"):
        moments.add(np.zeros((1, 4), np.float32))


def test_disagreement_is_the_difference_where_both_images_reach():
    maps = [np.array([[[0.2, 0.9, 0.5]]], np.float32), np.array([[[0.7, 0.9, 0.0]]], np.float32)]
    covered = np.array([[[True, True, False]]])
    np.testing.assert_allclose(uncertainty.disagreement(maps, covered), [[[0.5, 0.0, 0.0]]])
    third = np.array([[[0.1, 0.4, 0.0]]], np.float32)
    np.testing.assert_allclose(uncertainty.disagreement([*maps, third], covered), [[[0.6, 0.5, 0.0]]])


def test_flips_change_nothing_where_the_network_follows_them():
    pixelwise = Standing(threshold_model.predict("ct"))
    expected = pixelwise.probabilities(VALUES, AFFINE)
    np.testing.assert_allclose(Flipped(pixelwise).probabilities(VALUES, AFFINE), expected, atol=1e-7)


def test_flips_are_the_mean_of_four_answers_mirrored_back():
    ramp = np.linspace(0, 1, WINDOW, dtype=np.float32)
    weights = (ramp[:, None] * (1 - 0.5 * ramp))[None, ..., None]  # symmetrical along neither axis
    found = Flipped(Standing(lambda batch: weights * (batch > 0))).slices
    batch = np.random.default_rng(0).normal(size=(3, WINDOW, WINDOW, 1)).astype(np.float32)
    variants = [weights, weights[:, ::-1], weights[:, :, ::-1], weights[:, ::-1, ::-1]]
    np.testing.assert_allclose(found(batch), np.mean(variants, axis=0) * (batch > 0), atol=1e-7)


def test_dropout_is_a_function_of_seed_pass_and_slice_not_of_the_batch():
    def probabilities(seed, batch_size, passes=3):
        model = Noisy()
        return MonteCarlo(model, passes, seed).probabilities(VALUES, AFFINE, batch_size=batch_size), model.seen

    first, seeds = probabilities(5, 16)
    assert len(set(seeds)) == len(seeds) > 3 * 5  # two windows and more a slice: each has a seed of its own
    for batch_size in (1, 7):
        again, same = probabilities(5, batch_size)
        np.testing.assert_array_equal(first, again)
        assert same == seeds
    assert not np.array_equal(first, probabilities(6, 16)[0])
    assert not set(slice_seeds(5, 0, 10)) & set(slice_seeds(5, 1, 10))
    np.testing.assert_array_equal(slice_seeds(5, 0, 10)[:4], slice_seeds(5, 0, 4))


def test_an_ensemble_is_the_mean_on_the_own_grid():
    one = Standing(lambda batch: np.full_like(batch, 0.9), thresholds={LESION: 0.2}, spacing_mm=(3.0, 2.0, 2.0))
    two = Standing(
        lambda batch: np.full_like(batch, 0.1), thresholds={LESION: 0.6}, spacing_mm=(0.0, 5.0, 5.0), window=32
    )
    both = Ensemble([one, two])
    np.testing.assert_allclose(both.probabilities(VALUES, AFFINE), 0.5, atol=1e-6)
    assert both.manifest.threshold == pytest.approx(0.4) and both.predict(VALUES, AFFINE).all()
    three = Ensemble([one, MonteCarlo(Noisy(), 2, 0)])
    draws = list(three.draws(three.prepare(VALUES, AFFINE), batch_size=4))
    assert len(draws) == 3
    np.testing.assert_allclose(three.probabilities(VALUES, AFFINE), np.mean(draws, axis=0)[0], atol=1e-6)


def test_ensembles_refuse_what_does_not_belong_together():
    largest = Standing(np.zeros_like, postprocessing=Postprocessing(largest=True))
    with pytest.raises(UserError, match="differs: largest and none"):
        Ensemble([largest, Standing(np.zeros_like)])
    with pytest.raises(UserError, match="one modality, got ct, pet"):
        Ensemble([Standing(np.zeros_like), Standing(np.zeros_like, modality="pet")])


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two exported U-Nets with dropout, and a volume."""
    folder = tmp_path_factory.mktemp("dropout")
    for seed, name in enumerate("ab"):
        network = unet(WINDOW, 4, name="ct", seed=seed, levels=2)
        with_dropout = catalogue.with_dropout(network)
        publish(network, threshold_model.manifest("ct"), folder / name, with_dropout=with_dropout)
    nibabel.save(nibabel.Nifti1Image(VALUES, AFFINE), folder / "in.nii.gz")
    return folder


def test_exported_dropout_and_its_maps(published, tmp_path):
    def predict(name, *more, model="a"):
        models = ",".join(str(published / one) for one in model)
        soft = tmp_path / f"{name}.nii.gz"
        commandline.call(
            "semicml_tf.predict",
            [
                *(f"--model={models}", f"--input={published / 'in.nii.gz'}", f"--output={tmp_path / 'mask.nii.gz'}"),
                *(f"--probabilities={soft}", *more),
            ],
        )
        return np.asarray(nibabel.load(soft).dataobj)

    information = tmp_path / "information.nii.gz"
    maps = [f"--mutual_information={information}", f"--entropy={tmp_path / 'entropy.nii.gz'}"]
    plain = predict("plain")
    drawn = predict("drawn", "--mc_dropout=4", "--seed=3", *maps)
    found = np.asarray(nibabel.load(information).dataobj)
    assert np.abs(drawn - plain).max() > 1e-3 and 0 <= found.min() and 1e-4 < found.max() <= 1
    entropy = np.asarray(nibabel.load(tmp_path / "entropy.nii.gz").dataobj)
    np.testing.assert_allclose(entropy, uncertainty.binary_entropy(drawn), atol=1e-6)
    assert (found <= entropy + 1e-6).all()
    np.testing.assert_allclose(predict("again", "--mc_dropout=4", "--seed=3", "--batch_size=3"), drawn, atol=1e-6)
    assert np.abs(predict("other", "--mc_dropout=4", "--seed=4") - drawn).max() > 1e-4
    assert np.abs(predict("flips", "--flips") - plain).max() > 1e-4
    # Two models: the mean; the one that answers first is not changed by the sum.
    second = predict("second", model="b")
    np.testing.assert_allclose(predict("both", *maps, model="ab"), (plain + second) / 2, atol=1e-6)
    assert np.asarray(nibabel.load(information).dataobj).max() > 1e-4
