"""Every loss refuses maps that would broadcast: the functions are found in the room, not listed here."""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

from semicml_tf import losses
from semicml_tf.losses.asc import asc_loss, relations, similarity_matrix
from semicml_tf.losses.maps import check_maps
from semicml_tf.losses.pyramid import rectified_consistency
from semicml_tf.losses.supervised import pixel_cross_entropy

MAPS = {"p", "q", "y", "maps_a", "maps_b", "uncertainty"}


def _losses():
    modules = [
        importlib.import_module(f"{losses.__name__}.{each.name}") for each in pkgutil.iter_modules(losses.__path__)
    ]
    for function in (each for module in modules for _, each in inspect.getmembers(module, inspect.isfunction)):
        names = inspect.signature(function).parameters
        own = function.__module__.startswith(losses.__name__) and not function.__name__.startswith("_")
        if own and len(MAPS & set(names)) > 1:
            yield function


LOSSES = sorted(set(_losses()), key=lambda function: function.__name__)


def _call(function, shapes):
    """Calls a loss with maps of these shapes, by parameter, and numbers for all else that it needs."""
    rng = np.random.default_rng(0)
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in MAPS:
            arguments[name] = rng.uniform(0.2, 0.8, shapes.get(name, (2, 4, 4, 1))).astype(np.float32)
        elif parameter.default is parameter.empty:
            arguments[name] = 0.5
    return function(**arguments)


def test_the_losses_were_found():
    assert {"segmentation_loss", "asc_loss", "certain_squared_difference"} <= {each.__name__ for each in LOSSES}


@pytest.mark.parametrize("function", LOSSES, ids=lambda function: function.__name__)
def test_maps_that_would_broadcast_are_refused(function):
    assert np.isfinite(np.asarray(_call(function, {}))).all()
    for name in MAPS & set(inspect.signature(function).parameters):
        for shape in ((2, 4, 4, 3), (1, 4, 4, 1), (2, 4, 1, 1), (4, 4, 1)):
            with pytest.raises(ValueError, match=r"one shape \(batch, \*space, classes\), got"):
                _call(function, {name: shape})


@pytest.mark.parametrize("function", LOSSES, ids=lambda function: function.__name__)
def test_a_loss_of_patches_is_that_of_the_same_voxels_in_a_slice(function):
    slices, patches = (
        np.asarray(_call(function, dict.fromkeys(MAPS, (2, *space, 2)))) for space in ((4, 4), (2, 2, 4))
    )
    np.testing.assert_allclose(np.reshape(patches, slices.shape), slices, rtol=1e-5)


def test_lists_and_stacks_of_maps_are_checked():
    one, three = np.full((2, 4, 4, 1), 0.5, np.float32), np.full((2, 4, 4, 3), 0.5, np.float32)
    for function, maps in ((rectified_consistency, [one, three]), (similarity_matrix, three), (relations, three)):
        with pytest.raises(ValueError, match="one shape|of one class"):
            function(maps)


@pytest.mark.parametrize("patients, shape", [(None, "None"), (np.arange(2)[:, None], r"\(2, 1\)")])
def test_patients_are_one_number_per_slice(patients, shape):
    maps = np.full((2, 4, 4, 1), 0.5, np.float32)
    with pytest.raises(ValueError, match=rf"of shape \(B,\), got {shape}"):
        asc_loss(maps, maps, patients, negatives="other_patients")


def test_symbolic_shapes_are_checked_and_an_unknown_batch_fits():
    one, three = keras.KerasTensor((None, 4, 4, 1)), keras.KerasTensor((None, 4, 4, 3))
    assert pixel_cross_entropy(one, keras.KerasTensor((2, 4, 4, 1))).shape[1:] == (4, 4, 1)
    with pytest.raises(ValueError, match=r"p \(None, 4, 4, 1\), y \(None, 4, 4, 3\)"):
        pixel_cross_entropy(one, three)
    check_maps(p=one, q=np.zeros((7, 4, 4, 1)))
