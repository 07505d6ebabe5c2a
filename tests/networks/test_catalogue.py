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
        ({"dimensions": 3, "window": (4, 16, 16)}, "of 2 dimensions .*got 3"),
        ({"options": {"gates": True}}, "options none, got .* and gates"),
        ({"levels": 6, "window": 32}, "1 to 5 levels, got 6"),
    ],
)
def test_a_specification_that_this_version_cannot_build_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        catalogue.build(dataclasses.replace(NetworkSpec("unet", 16, 2, 1), **change), name="ct")
