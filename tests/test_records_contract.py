"""The record contract: what goes in comes out, byte for byte the same each time."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.normalisation import Constants
from semicml_tf.records import contract
from tests.test_geometry_resample import OBLIQUE


def record(labelled=True):
    rng = np.random.default_rng(0)
    grid, native = Grid((3, 4, 5), np.diag([3.0, 2, 2, 1])), Grid((7, 5, 3), OBLIQUE)
    return contract.CaseRecord(
        case_id="Fälle_1",
        grid=grid,
        images={name: rng.normal(size=grid.shape).astype(np.float16) for name in ("pet", "ct")},
        constants={"ct": Constants(-200, 300, 50, 250), "pet": Constants(0, 15, 7.5, 7.5)},
        native_grid=native,
        label=rng.integers(0, 2, grid.shape).astype(np.uint8) if labelled else None,
        native_label=rng.integers(0, 2, native.shape).astype(np.uint8) if labelled else None,
    )


@pytest.mark.parametrize("labelled", [True, False])
def test_round_trip(labelled):
    before = record(labelled)
    after = contract.decode(contract.encode(before))
    assert after.case_id == before.case_id and after.constants == before.constants
    assert after.grid.is_close(before.grid, 1e-4) and after.native_grid.is_close(before.native_grid, 1e-4)
    assert set(after.images) == {"ct", "pet"}
    for name, image in before.images.items():
        np.testing.assert_array_equal(after.images[name], image)
        assert after.images[name].dtype == np.float16
    if labelled:
        np.testing.assert_array_equal(after.label, before.label)
        np.testing.assert_array_equal(after.native_label, before.native_label)
    else:
        assert after.label is None and after.native_label is None


def test_the_same_record_gives_the_same_bytes():
    assert contract.encode(record()) == contract.encode(record())


def test_an_unlabelled_record_has_no_label_feature():
    features = tf.train.Example.FromString(contract.encode(record(labelled=False))).features.feature
    assert not [name for name in features if "label" in name]


def test_parsed_in_a_graph_as_decoded():
    serialized = contract.encode(record())
    dataset = tf.data.Dataset.from_tensors(serialized)
    parsed = next(iter(dataset.map(lambda s: contract.parse_in_graph(s, ["pet"], labelled=True))))
    assert set(parsed["image"]) == {"pet"}
    np.testing.assert_array_equal(parsed["image"]["pet"], record().images["pet"])
    np.testing.assert_array_equal(parsed["label"], record().label)


def test_a_label_that_is_not_there_cannot_be_parsed():
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        contract.parse_in_graph(contract.encode(record(labelled=False)), ["ct"], labelled=True)


def test_something_else_than_a_record():
    with pytest.raises(UserError, match=r"a.tfrecord: a record is no tf.train.Example.*Convert"):
        contract.decode(b"\xff\xff\xff", path="a.tfrecord")
    with pytest.raises(UserError, match="contract version 1, got none"):
        contract.decode(tf.train.Example().SerializeToString())


def test_an_image_of_another_shape_is_refused():
    whole = record()
    with pytest.raises(ValueError, match="image ct"):
        contract.encode(dataclasses.replace(whole, images={**whole.images, "ct": np.zeros((1, 2, 3), np.float16)}))
