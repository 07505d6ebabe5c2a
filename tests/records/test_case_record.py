"""The record contract: decoding inverts encoding, and encoding is deterministic."""

import dataclasses
import tracemalloc
import zlib

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import SOFTMAX, LabelDefinition
from semicml_tf.preprocessing.normalisation import Constants
from semicml_tf.records import case_record
from tests.geometry.test_resample import OBLIQUE


def record(labelled=True):
    rng = np.random.default_rng(0)
    grid, native = Grid((3, 4, 5), np.diag([3.0, 2, 2, 1])), Grid((7, 5, 3), OBLIQUE)
    return case_record.CaseRecord(
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
    after = case_record.decode(case_record.encode(before))
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
    assert case_record.encode(record()) == case_record.encode(record())


def test_an_unlabelled_record_has_no_label_feature():
    features = tf.train.Example.FromString(case_record.encode(record(labelled=False))).features.feature
    assert not [name for name in features if "label" in name]


def test_parsed_in_a_graph_as_decoded():
    serialized = case_record.encode(record())
    dataset = tf.data.Dataset.from_tensors(serialized)
    parsed = next(iter(dataset.map(lambda s: case_record.parse_in_graph(s, ["pet"], labelled=True))))
    assert set(parsed["image"]) == {"pet"}
    np.testing.assert_array_equal(parsed["image"]["pet"], record().images["pet"])
    np.testing.assert_array_equal(parsed["label"], record().label)


def test_a_label_of_other_values_cannot_be_parsed(monkeypatch):
    monkeypatch.setattr(case_record, "binary", lambda mask, what: mask)
    serialized = case_record.encode(dataclasses.replace(record(), label=np.full((3, 4, 5), 2, np.uint8)))
    dataset = tf.data.Dataset.from_tensors(serialized)
    with pytest.raises(tf.errors.InvalidArgumentError, match="values 0 and 1"):
        next(iter(dataset.map(lambda s: case_record.parse_in_graph(s, ["ct"], labelled=True))))


def test_a_missing_label_cannot_be_parsed():
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        case_record.parse_in_graph(case_record.encode(record(labelled=False)), ["ct"], labelled=True)


def test_bytes_that_are_no_record_are_refused():
    with pytest.raises(UserError, match=r"a.tfrecord: a record is no tf.train.Example.*Convert"):
        case_record.decode(b"\xff\xff\xff", path="a.tfrecord")
    with pytest.raises(UserError, match="contract version 2 or 3, got none"):
        case_record.decode(tf.train.Example().SerializeToString())


def test_an_image_of_another_shape_is_refused():
    whole = record()
    with pytest.raises(ValueError, match="image ct"):
        case_record.encode(dataclasses.replace(whole, images={**whole.images, "ct": np.zeros((1, 2, 3), np.float16)}))


def test_the_bytes_are_those_of_tensorflow():
    for labelled in (True, False):
        content = case_record.encode(record(labelled))
        assert tf.train.Example.FromString(content).SerializeToString(deterministic=True) == content


def test_a_box_of_the_grid_keeps_its_place():
    whole = dataclasses.replace(record(), crop_offset=(1, 0, 2), full_shape=(6, 4, 9))
    after = case_record.decode(case_record.encode(whole))
    assert after.crop_offset == (1, 0, 2) and after.full_shape == (6, 4, 9)
    # Voxel (0, 0, 0) of the box is voxel (1, 0, 2) of the whole.
    assert after.full_grid.shape == (6, 4, 9)
    np.testing.assert_allclose(after.full_grid.affine @ [1, 0, 2, 1], after.grid.affine @ [0, 0, 0, 1])
    np.testing.assert_array_equal(after.full_grid.affine[:, :3], after.grid.affine[:, :3])
    plain = case_record.decode(case_record.encode(record()))
    assert plain.crop_offset == (0, 0, 0) and plain.full_shape == plain.grid.shape
    assert plain.full_grid.is_close(plain.grid, 0.0)


def test_a_patient_with_one_modality():
    whole = record(labelled=False)
    ct_only = dataclasses.replace(whole, images={"ct": whole.images["ct"]}, constants={"ct": whole.constants["ct"]})
    content = case_record.encode(ct_only)
    after = case_record.decode(content)
    assert set(after.images) == set(after.constants) == {"ct"}
    case_record.parse_in_graph(content, ["ct"], labelled=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/pet"):
        case_record.parse_in_graph(content, ["ct", "pet"], labelled=False)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"label": np.zeros((3, 4, 4), np.uint8)}, "expected label of shape"),
        ({"native_label": np.zeros((3, 4, 5), np.uint8)}, "expected native_label of shape"),
        ({"native_label": None}, "both labels or none"),
        ({"label": None}, "both labels or none"),
        ({"label": np.full((3, 4, 5), 2, np.uint8)}, "a label of the values 0 and 1, got also 2"),
        ({"native_label": np.full((7, 5, 3), 4, np.uint8)}, "a native_label of the values 0 and 1, got also 4"),
        ({"label": np.full((3, 4, 5), 0.5)}, "got also 0.5"),
        ({"images": {}, "constants": {}}, "expected images"),
        ({"constants": {"ct": Constants(0, 1, 0, 1)}}, "each with its constants"),
        ({"constants": {"ct": Constants(0, 1, 0, 1), "pet": Constants(0, np.nan, 0, 1)}}, "finite constants of pet"),
        ({"constants": {"ct": Constants(0, 1, 0, 1), "pet": Constants(0, 1, 0, 0)}}, "scale above 0"),
        ({"crop_offset": (0, 0, 1)}, "expected a box within"),
        ({"crop_offset": (-1, 0, 0), "full_shape": (9, 9, 9)}, "expected a box within"),
        ({"crop_offset": (7, 0, 0), "full_shape": (9, 9, 9)}, "expected a box within"),
    ],
)
def test_parts_that_do_not_fit_together_are_not_written(change, message):
    with pytest.raises(ValueError, match=message):
        case_record.encode(dataclasses.replace(record(), **change))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("case_id"),
        lambda f: f.pop("crop/offset"),
        lambda f: f.pop("normalisation/ct"),
        lambda f: f.pop("native/label"),
        lambda f: f["grid/shape"].int64_list.value.pop(),
        lambda f: f["image/pet"].bytes_list.value.__setitem__(0, b"short"),
        lambda f: f["native/label"].bytes_list.value.__setitem__(0, b"not zlib"),
        lambda f: f["native/affine"].float_list.value.__setitem__(0, float("nan")),
    ],
)
def test_a_record_with_a_missing_or_wrong_feature_is_refused(change):
    example = tf.train.Example.FromString(case_record.encode(record()))
    change(example.features.feature)
    with pytest.raises(UserError, match=r"a.tfrecord: a record of contract version 2 has a missing or wrong feature"):
        case_record.decode(example.SerializeToString(), path="a.tfrecord")


def mutations():
    """Yields name and bytes of records with one mutation each."""
    whole = case_record.encode(record())
    features = tf.train.Example.FromString(whole).features.feature

    def mutated(name, change, text):
        example = tf.train.Example.FromString(whole)
        change(example.features.feature[name])
        return f"{name} {text}", example.SerializeToString()

    def replaced(values):
        def change(feature):
            kind = feature.WhichOneof("kind")
            del getattr(feature, kind).value[:]
            getattr(feature, kind).value.extend(values)

        return change

    bomb = zlib.compress(bytes(2**24))
    for name in features:
        yield mutated(name, lambda feature: feature.Clear(), "empty")
        yield mutated(name, lambda feature: feature.int64_list.value.extend([1, 2, 3]), "as whole numbers")
        yield mutated(name, lambda feature: feature.bytes_list.value.extend([b"x"]), "as bytes")
        values = list(getattr(features[name], features[name].WhichOneof("kind")).value)
        for count in (values[:-1], values * 2, values * 3000 if len(values) > 1 else []):
            yield mutated(name, replaced(count), f"{len(count)} values")
        if features[name].WhichOneof("kind") == "bytes_list":
            for text in (b"", values[0][:-1], values[0] + b"\0", values[0] * 100, bomb):
                yield mutated(name, replaced([text]), f"{len(text)} bytes")
            continue
        odd = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38) if name.endswith("affine") or "norm" in name else ()
        for place in range(len(values)):
            for value in odd or (0, -1, -3, 7, 2000, 2**31, 2**40, 2**62, -(2**63)):
                changed = [*values[:place], value, *values[place + 1 :]]
                yield mutated(name, replaced(changed), f"[{place}] = {value}")
    rng = np.random.default_rng(0)
    for number in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 1 + number % 3):
            content[place] = rng.integers(256)
        yield f"bytes {number}", bytes(content)
        yield f"cut {number}", whole[: rng.integers(len(whole))]
    # 8 kB that claim 2000 x 2000 x 2000 voxels; then also with a compressed mask of too many zeros.
    cube = tf.train.Example.FromString(whole)
    cube.features.feature["native/shape"].int64_list.value[:] = [2000, 2000, 2000]
    yield "2000^3", cube.SerializeToString()
    cube.features.feature["native/label"].bytes_list.value[:] = [zlib.compress(bytes(2**20))]
    yield "2000^3, zlib", cube.SerializeToString()
    box = tf.train.Example.FromString(whole)
    box.features.feature["crop/offset"].int64_list.value[:] = [2**40] * 3
    box.features.feature["crop/full_shape"].int64_list.value[:] = [2**41] * 3
    yield "far box", box.SerializeToString()


def test_a_record_with_false_claims_is_refused_or_read_as_tensorflow_reads_it():
    read = 0
    tracemalloc.start()
    for name, content in mutations():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            after = case_record.decode(content, path="a.tfrecord")
        except UserError as error:
            assert error.path == "a.tfrecord" and len(error.line) < 700, name
            continue
        finally:
            assert tracemalloc.get_traced_memory()[1] - before < 2**20, name
        read += 1
        features = tf.train.Example.FromString(content).features.feature
        for modality, image in after.images.items():
            assert image.tobytes() == features[f"image/{modality}"].bytes_list.value[0], name
            expected = features[f"normalisation/{modality}"].float_list.value
            np.testing.assert_array_equal(dataclasses.astuple(after.constants[modality]), expected)
        assert list(after.crop_offset) == features["crop/offset"].int64_list.value, name
        assert list(after.full_grid.shape) == features["crop/full_shape"].int64_list.value, name
        assert list(after.native_grid.shape) == features["native/shape"].int64_list.value, name
        if after.label is not None:
            assert after.label.tobytes() == features["label"].bytes_list.value[0], name
            bits = zlib.decompress(features["native/label"].bytes_list.value[0])
            assert np.packbits(after.native_label).tobytes()[:-1] == bits[:-1] and len(bits) == 14, name
    tracemalloc.stop()
    assert read > 50


def test_a_native_label_of_another_length_is_refused():
    example = tf.train.Example.FromString(case_record.encode(record()))
    label = example.features.feature["native/label"].bytes_list.value
    example.features.feature["native/shape"].int64_list.value[:] = [7, 5, 4]
    with pytest.raises(UserError, match="exactly 18 bytes for 140 voxels"):
        case_record.decode(example.SerializeToString())
    example.features.feature["native/shape"].int64_list.value[:] = [7, 5, 3]
    label[0] += b"more"
    with pytest.raises(UserError, match="exactly 14 bytes for 105 voxels"):
        case_record.decode(example.SerializeToString())


def test_a_grid_that_is_too_large_for_a_record(monkeypatch):
    monkeypatch.setattr(case_record, "MOST_VOXELS", 100)
    with pytest.raises(UserError, match="Fälle_1 is too large for a record.* at most 100 voxels, got 7 x 5 x 3"):
        case_record.encode(record())


def test_a_case_that_is_too_large_for_a_record(monkeypatch):
    monkeypatch.setattr(case_record.example_proto, "MOST_BYTES", 300)
    with pytest.raises(UserError, match="Fälle_1 is too large for a record on a grid of 3 x 4 x 5.*--spacing_mm"):
        case_record.encode(record())


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_decoded_arrays_are_aligned(length):
    whole = dataclasses.replace(record(), case_id="x" * length)  # moves all that comes after it
    content = case_record.encode(whole)
    after = case_record.decode(content)
    for name, image in after.images.items():
        assert image.flags.aligned and not image.flags.writeable
        np.testing.assert_array_equal(image, whole.images[name])
    assert np.shares_memory(after.label, np.frombuffer(content, np.uint8))  # not copied


CLASSES = LabelDefinition({"liver": (1,), "kidney": (2, 3)}, SOFTMAX, ignore_value=255)
REGIONS = LabelDefinition({f"r{number}": (number + 1,) for number in range(9)})


@pytest.mark.parametrize("labels,highest", [(CLASSES, 3), (REGIONS, 1 << 9)], ids=["classes", "regions"])
def test_both_readers_return_the_codes_of_several_classes(labels, highest):
    rng = np.random.default_rng(1)
    before = record()
    codes = {
        "label": rng.integers(0, highest, before.grid.shape).astype(labels.dtype),
        "native_label": rng.integers(0, highest, before.native_grid.shape).astype(labels.dtype),
    }
    if labels.ignored_code is not None:
        codes["label"][0] = labels.ignored_code
    before = dataclasses.replace(before, labels=labels, **codes)
    content = case_record.encode(before)
    after = case_record.decode(content)
    assert after.labels == labels and after.contract_version == 3
    np.testing.assert_array_equal(after.label, codes["label"])
    np.testing.assert_array_equal(after.native_label, codes["native_label"])
    parsed = case_record.parse_in_graph(content, ["ct"], labelled=True, labels=labels)
    np.testing.assert_array_equal(parsed["label"], codes["label"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a label of the values"):
        fewer = (
            LabelDefinition({"liver": (1,)}, SOFTMAX)
            if labels.exclusive
            else LabelDefinition({f"r{number}": (number + 1,) for number in range(8)}, ignore_value=99)
        )
        case_record.parse_in_graph(content, ["ct"], labelled=True, labels=fewer)


def test_codes_of_no_class_are_refused():
    wrong = np.full((3, 4, 5), 3, np.uint8)
    with pytest.raises(ValueError, match="a label of codes of liver:1,kidney:2"):
        case_record.encode(dataclasses.replace(record(), labels=CLASSES, label=wrong))
