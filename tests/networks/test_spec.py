"""Specifications as data: what they allow, and what follows from them."""

import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.system import json_files

PATCH = {"window": (4, 16, 16), "dimensions": 3, "levels": 3}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"window": 40}, "multiple of 16, got 40"),
        ({"window": 8192}, "from 1 to 4096"),
        ({"window": (16, 16, 16)}, "1 number for a network of 2 dimensions"),
        ({"dimensions": 3}, "3 numbers for a network of 3 dimensions, got 64"),
        ({**PATCH, "window": (4, 16, 18)}, r"multiple of \(4, 4, 4\)"),
        ({**PATCH, "window": (512, 512, 512)}, "at most 16777216 voxels"),
        ({"window": 4096, "input_channels": 5}, "67108864 values, got 16777216 voxels of 5 channels"),
        ({**PATCH, "strides": ((1, 2, 2),)}, "strides of 2 levels, got 1"),
        ({**PATCH, "strides": ((1, 2, 2), (2, 2))}, "3 numbers 1 or 2"),
        ({**PATCH, "strides": ((1, 2, 2), (2, 2, 4))}, "3 numbers 1 or 2"),
        ({"width": 0}, "width from 1"),
        ({"name": "a b"}, "letters, digits and _"),
        ({"options": {"a": "\x1b"}}, "control characters"),
    ],
)
def test_a_specification_out_of_its_ranges_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        NetworkSpec(**change)


def test_a_specification_of_slices_is_written_as_before_there_were_patches():
    assert json.dumps(NetworkSpec().to_json()) == (
        '{"name": "unet", "window": 64, "width": 16, "levels": 5, "dimensions": 2, "input_channels": 1, '
        '"output_channels": 1, "options": {}, "activation": "sigmoid"}'
    )


@pytest.mark.parametrize("spec", [NetworkSpec(), NetworkSpec(**PATCH, strides=((1, 2, 2), (2, 2, 2)))])
def test_a_specification_is_read_as_it_was_written(spec):
    assert json_files.of_value(json.loads(json.dumps(spec.to_json())), NetworkSpec, what="a network") == spec


@pytest.mark.parametrize(
    "change", [{"window": [4, 16]}, {"window": [4, 16, 16.0]}, {"window": "4"}, {"strides": [[1]]}]
)
def test_a_specification_of_other_types_is_refused(change):
    body = json.loads(json.dumps(NetworkSpec(**PATCH).to_json()))
    with pytest.raises(UserError, match="expected a network, but"):
        json_files.of_value(body | change, NetworkSpec, what="a network")


def test_what_follows_from_strides():
    slices, whole = NetworkSpec(window=32, levels=3), NetworkSpec(**PATCH)
    assert (slices.spatial, slices.window_multiple, slices.steps) == ((32, 32), 4, ((2, 2), (2, 2)))
    assert slices.kernels == ((3, 3),) * 3
    assert (whole.spatial, whole.window_multiple, whole.kernels) == ((4, 16, 16), (4, 4, 4), ((3, 3, 3),) * 3)
    apart = NetworkSpec(**PATCH, strides=((1, 2, 2), (2, 2, 2)))
    assert (apart.window_multiple, apart.kernels) == ((2, 4, 4), ((1, 3, 3), (3, 3, 3), (3, 3, 3)))
    # An axis that is too short to be divided is convolved all the same.
    assert NetworkSpec(**PATCH, strides=((1, 2, 2), (1, 2, 2))).kernels == ((3, 3, 3),) * 3
