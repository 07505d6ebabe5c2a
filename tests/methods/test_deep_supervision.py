"""Deep supervision: coarser labels, weights, and what it leaves as it was."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.methods import deep_supervision
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.runs.settings import TrainSettings, contradictions
from semicml_tf.training import checkpoint
from semicml_tf.training.distributed.devices import strategy_for
from tests.support import method_batches

SPEC = NetworkSpec("unet", method_batches.WINDOW, 2, 4)


def test_a_coarse_pixel_is_in_a_region_if_one_of_its_pixels_is_and_counts_if_that_is_known():
    label = np.zeros((1, 2, 6, 1), np.float32)
    label[0, 1, 0] = 1.0
    valid = np.ones_like(label)
    valid[0, 0, [0, 2]] = 0.0
    coarse = deep_supervision.coarse_stream({"label": label, "valid": valid, "patient": 1}, (1, 3), exclusive=False)
    assert np.ravel(coarse["label"]).tolist() == [1, 0, 0] and np.ravel(coarse["valid"]).tolist() == [1, 0, 1]
    assert coarse["patient"] == 1


def test_a_coarse_pixel_has_one_of_exclusive_classes():
    classes = np.array([[1, 2, 0, 2], [2, 2, 0, 0]])
    label = np.eye(3, dtype=np.float32)[classes][np.newaxis, ..., 1:]
    coarse = deep_supervision.coarse_stream({"label": label}, (1, 2), exclusive=True)
    np.testing.assert_array_equal(coarse["label"], label[:, :1, ::2])
    assert "valid" not in coarse


def test_patches_are_divided_along_each_axis_by_its_own_factor():
    label = np.zeros((1, 2, 4, 4, 1), np.float32)
    label[0, 1, 3, 0] = 1.0
    coarse = deep_supervision.coarse_stream({"label": label}, (2, 2, 1), exclusive=False)
    assert np.argwhere(np.asarray(coarse["label"])).tolist() == [[0, 1, 1, 0, 0]]


def test_weights_halve_and_sum_to_1():
    assert deep_supervision.weighted([7.0, 0.0, 0.0]) == pytest.approx(4.0)
    assert deep_supervision.weighted([5.0, 5.0, 5.0]) == pytest.approx(5.0)


@pytest.mark.parametrize("name, kind", [("supervised", "plain"), ("urpc", "auxiliary"), ("cps", "second")])
def test_the_supervised_term_is_that_of_all_scales(name, kind):
    batch = method_batches.batch(0, modalities=("ct",))
    how = {"modalities": ("ct",), "spec": SPEC, "lr_warmup_epochs": 0.0}
    plain, deep = (method_batches.method(name, deep_supervision=on, **how) for on in (False, True))
    maps, views = deep._maps(deep.views(batch)), plain._maps(plain.views(batch))
    terms, usual = deep.loss_terms(batch, maps, {}), plain.loss_terms(batch, views, {})
    # The method itself does not see the coarser maps.
    assert {key: float(value) for key, value in terms.items()} == pytest.approx(
        {key: float(value) for key, value in usual.items()}, rel=1e-5
    )
    p = maps["labelled"]["deep/ct/0"]
    assert p.shape[1:] == (8, 8, 1) and maps["labelled"]["deep/ct/1"].shape[1:] == (4, 4, 1)
    coarser = [
        deep.labelled_loss(
            maps["labelled"][f"deep/ct/{number}"],
            deep_supervision.coarse_stream(batch["labelled"], (side, side), exclusive=False),
            "ct",
        )
        for number, side in enumerate((8, 4))
    ]
    expected = (terms["supervised"] + coarser[0] / 2 + coarser[1] / 4) / 1.75
    assert float(deep._deep_terms(batch, maps, terms)["supervised"]) == pytest.approx(float(expected), rel=1e-6)


def test_the_heads_learn_are_restored_and_are_not_deployed(tmp_path):
    # One coarser scale.
    method = method_batches.method("supervised", levels=3, deep_supervision=True, lr_warmup_epochs=0.0)
    before = method_batches.weights(method)
    method.train_step({"labelled": method_batches.batch(0)["labelled"]})
    after = method_batches.weights(method)
    for name in ("ct", "pet"):
        assert all(np.abs(a - b).max() > 0 for a, b in zip(after[f"deep/{name}"], before[f"deep/{name}"]))
        assert method.deployed[name].output.shape[1:] == (16, 16, 1)
        assert len(method.deployed[name].get_weights()) == len(method.students[name].get_weights())
    checkpoint.save(tmp_path / "last.npz", method, {"run_hash": ""})
    for head in method.deep.values():
        head.set_weights([np.zeros_like(array) for array in head.get_weights()])
    checkpoint.restore(tmp_path / "last.npz", method)
    np.testing.assert_array_equal(method.deep["ct"].get_weights()[0], after["deep/ct"][0])


def test_two_replicas_take_the_step_of_one():
    def weights(devices):
        strategy = strategy_for(devices)
        with strategy.scope():
            method = method_batches.method(
                "supervised",
                modalities=("ct",),
                levels=3,
                deep_supervision=True,
                synchronized=len(devices) > 1,
                precision="float64",
                optimizer="sgd",
                lr_warmup_epochs=0.0,
            )
        data = method_batches.batch(0, 6, 0, dtype="float64", modalities=("ct",))
        method_batches.eager_step(method, strategy)(data)
        return method_batches.weights(method)

    one, two = weights(["cpu:0"]), weights(["cpu:0", "cpu:1"])
    for key, arrays in one.items():
        for a, b in zip(arrays, two[key], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12, err_msg=key)


def test_a_network_without_coarser_scales_is_refused():
    with pytest.raises(UserError, match="coarser decoder features for --deep_supervision, got unet of 2 levels"):
        method_batches.method("supervised", levels=2, deep_supervision=True)


def test_a_network_that_declares_no_decoder_is_refused(monkeypatch):
    monkeypatch.setitem(catalogue.NETWORKS, "unet", dataclasses.replace(catalogue.NETWORKS["unet"], features=()))
    settings = TrainSettings(method=("supervised",), epochs=(1,)), MethodSettings(deep_supervision=True)
    assert "--network with decoder features for --deep_supervision, got unet" in next(contradictions(*settings))[0]
