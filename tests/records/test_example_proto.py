"""Examples written and read without TensorFlow: the bytes equal TensorFlow's."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.records import example_proto

INTS = [0, 1, 127, 128, 300, -1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 1.5, 1e-45, 3.4e38, float("inf"), 0.1]
TEXTS = {"empty": b"", "a": b"x", "ä/ö": bytes(range(256)), "b/b": b"\n" * 70_000, "B": b"0"}


def by_tensorflow(texts, floats, ints) -> bytes:
    kinds = {
        "bytes_list": (tf.train.BytesList, {key: [value] for key, value in texts.items()}),
        "float_list": (tf.train.FloatList, floats),
        "int64_list": (tf.train.Int64List, ints),
    }
    feature = {
        key: tf.train.Feature(**{field: kind(value=values)})
        for field, (kind, features) in kinds.items()
        for key, values in features.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def test_the_bytes_are_tensorflows():
    floats, ints = {"f": FLOATS, "g": [2.0]}, {"i": INTS, "z": [7], "many": list(range(1000))}
    ours = example_proto.serialize(
        {key: example_proto.raw(value) for key, value in TEXTS.items()}
        | {key: example_proto.floats(value) for key, value in floats.items()}
        | {key: example_proto.ints(value) for key, value in ints.items()}
    )
    assert ours == by_tensorflow(TEXTS, floats, ints)
    features = example_proto.parse(ours)
    assert set(features) == {*TEXTS, *floats, *ints}
    assert {key: example_proto.raw_of(features[key]) for key in TEXTS} == TEXTS
    np.testing.assert_array_equal(example_proto.floats_of(features["f"]), np.float32(FLOATS))
    assert example_proto.ints_of(features["i"]) == INTS
    # Views into the bytes, no copies.
    assert np.shares_memory(np.frombuffer(example_proto.raw_of(features["b/b"]), "u1"), np.frombuffer(ours, "u1"))


@pytest.mark.parametrize("seed", range(20))
def test_what_tensorflow_writes_in_any_order_is_read(seed):
    rng = np.random.default_rng(seed)
    example = tf.train.Example()
    for name in rng.permutation(["a", "", "t1", "t1ce", "ä", "long" * 50]):
        kind = rng.integers(3)
        feature = example.features.feature[str(name)]
        if kind == 0:
            feature.bytes_list.value.append(rng.bytes(rng.integers(0, 300)))
        elif kind == 1:
            feature.float_list.value.extend(rng.normal(size=rng.integers(0, 50)))
        else:
            feature.int64_list.value.extend(rng.integers(-(2**62), 2**62, rng.integers(0, 50)).tolist())
    features = example_proto.parse(example.SerializeToString())
    assert set(features) == set(example.features.feature)
    for name, feature in example.features.feature.items():
        assert example_proto.floats_of(features[name]) == list(feature.float_list.value)
        assert example_proto.ints_of(features[name]) == list(feature.int64_list.value)
        if feature.bytes_list.value:
            assert example_proto.raw_of(features[name]) == feature.bytes_list.value[0]
        else:
            with pytest.raises(ValueError, match="one byte string, got 0"):
                example_proto.raw_of(features[name])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "u1", "<i4"])
def test_arrays_are_written_in_c_order(order, dtype):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype, order=order)
    assert example_proto.serialize({"a": example_proto.raw(array)}) == by_tensorflow({"a": array.tobytes()}, {}, {})
    view = array[:, ::2]  # not contiguous
    assert example_proto.serialize({"a": example_proto.raw(view)}) == by_tensorflow({"a": view.tobytes()}, {}, {})


def test_a_name_that_is_the_start_of_another_comes_first():
    names = ["t1", "t1ce", "t1c", "", "t"]
    ours = example_proto.serialize({name: example_proto.ints([1]) for name in names})
    assert sorted(names, key=lambda name: ours.index(b"\n" + bytes([len(name)]) + name.encode() + b"\x12")) == sorted(
        names
    )
    assert tf.train.Example.FromString(ours) == tf.train.Example.FromString(
        by_tensorflow({}, {}, dict.fromkeys(names, [1]))
    )


def test_no_feature_at_all():
    # TensorFlow omits the empty `features` message here.
    assert example_proto.serialize({}) == by_tensorflow({}, {}, {})


def test_an_example_that_is_too_long_for_protobuf_is_refused(monkeypatch):
    monkeypatch.setattr(example_proto, "MOST_BYTES", 1000)
    example_proto.serialize({"a": example_proto.raw(bytes(900))})
    with pytest.raises(ValueError, match="at most 1000 bytes, got 10"):
        example_proto.serialize({"a": example_proto.raw(bytes(1000))})


def test_bytes_that_are_no_example_are_refused():
    whole = by_tensorflow(TEXTS, {}, {})
    for content in (b"\xff\xff\xff", b"\xff" * 11, whole[:-3], whole[:1], b"\x08\x01", b"text, and more of it"):
        with pytest.raises(example_proto.NoExample):
            example_proto.parse(content)
    with pytest.raises(example_proto.NoExample, match="UTF-8"):
        example_proto.parse(example_proto.serialize({"a": []}).replace(b"a", b"\xff"))


def test_damaged_bytes_are_read_or_raise_value_error():
    whole = by_tensorflow({"a": b"xyz"}, {"f": FLOATS}, {"i": INTS})
    rng = np.random.default_rng(0)
    for _ in range(2000):
        content = bytearray(whole)
        content[rng.integers(len(whole))] = rng.integers(256)
        try:
            features = example_proto.parse(bytes(content))
            for feature in features.values():
                example_proto.ints_of(feature), example_proto.floats_of(feature), example_proto.raw_of(feature)
        except ValueError:
            pass
