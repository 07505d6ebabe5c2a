"""Specifications that no network can be built from."""

import dataclasses

import pytest

from semicml_tf.errors import UserError
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec


@pytest.mark.parametrize(
    "change, said",
    [
        ({"name": "unett"}, "a network among .*, got 'unett'.*Did you mean unet"),
        ({"input_channels": 3}, r"1 input channel, .*got \(2, 3\)"),
        ({"dimensions": 3}, "of 2 dimensions"),
        ({"options": {"gates": True}}, "options none, got .* and gates"),
        ({"levels": 6, "window": 32}, "at most 5 levels, got 6"),
    ],
)
def test_a_specification_that_this_version_cannot_build_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        catalogue.build(dataclasses.replace(NetworkSpec("unet", 16, 2, 1), **change), name="ct")


@pytest.mark.parametrize("change", [{"window": 40}, {"width": 0}, {"name": "a b"}, {"options": {"a": "\x1b"}}])
def test_a_specification_out_of_its_ranges_is_refused(change):
    with pytest.raises(ValueError):
        NetworkSpec(**change)
