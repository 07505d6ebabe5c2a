"""`dataset.json` and shards: reading, and errors for damaged or edited files."""

import dataclasses
import json

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo
from tests.support import object_store
from tests.support.conversions import convert, hecktor


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return hecktor(tmp_path_factory.mktemp("source"))


@pytest.fixture
def dataset(source, tmp_path):
    return convert(source, tmp_path / "dataset")


def edit(folder, change):
    path = folder / "dataset.json"
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))
    return path


def test_loaded_as_saved(dataset):
    info = DatasetInfo.load(dataset)
    assert info.with_hash() == info and info.root == dataset
    records = list(shards.read_cases(info, info.cases("labelled") + info.cases("test")))
    assert [record.case_id for record in records] == ["P1", "P4"]
    shards.check_shards(info, ["labelled", "unlabelled", "validation", "test"])


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda body: body.update(spacing_mm=[1, 1, 1]), "it was edited"),
        (lambda body: body["partitions"]["test"].extend(body["partitions"]["labelled"]), "it was edited"),
        (lambda body: body.update(contract_version=0), "contract_version: expected 2 or 3, got 0"),
        (lambda body: body.pop("modalities"), "the field modalities is missing"),
        (lambda body: body["partitions"]["test"][0].pop("shape"), r"the field partitions.test\[0\].shape is missing"),
        (lambda body: body["partitions"]["test"][0].update(shard="../a.tfrecord"), "expected the name of a shard"),
        (lambda body: body["partitions"]["test"][0].update(shape=[2**40, 1, 1]), "impossible shape"),
        (lambda body: body["partitions"]["test"][0].update(modalities=["mr"]), "modalities that the dataset lacks"),
        (lambda body: body.update(reference_modality="mr"), "one of them as reference"),
    ],
)
def test_an_edited_description_is_refused(dataset, change, message):
    path = edit(dataset, change)
    with pytest.raises(UserError, match=message) as caught:
        DatasetInfo.load(dataset)
    assert str(path) in caught.value.line and "semicml_tf.convert" in caught.value.line


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"dataset.json: expected a converted dataset.*semicml_tf.convert"):
        DatasetInfo.load(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        DatasetInfo.load(tmp_path)


def test_a_partition_without_cases(dataset):
    with pytest.raises(UserError, match="partition 'none'"):
        DatasetInfo.load(dataset).cases("none")


def damage(content, how):
    if how == "truncated":
        return content[:-20]
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def test_a_dataset_of_an_earlier_version_is_refused(dataset):
    path = edit(dataset, lambda body: [body.update(contract_version=1), body.pop("crop"), body.pop("window")])
    with pytest.raises(UserError) as caught:
        DatasetInfo.load(dataset)
    assert caught.value.line == (
        f"{path}: expected a converted dataset, but contract_version: expected 2 or 3, got 1. "
        "Convert the data again with python -m semicml_tf.convert of this version."
    )


def test_window_crop_and_modalities_are_saved(dataset):
    info = DatasetInfo.load(dataset)
    case = dataclasses.replace(info.cases("unlabelled")[0], modalities=("pet",))
    changed = dataclasses.replace(
        info, crop="body", window=96, partitions={**info.partitions, "unlabelled": (case,)}
    ).with_hash()
    assert changed.data_hash != info.data_hash
    changed.save(dataset)
    assert DatasetInfo.load(dataset) == changed
    assert changed.modalities_of(case) == ("pet",)
    without = dataclasses.replace(case, modalities=())
    assert changed.modalities_of(without) == ("ct", "pet")


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_corrupt_shard(dataset, how):
    info = DatasetInfo.load(dataset)
    path = dataset / info.cases("test")[0].shard
    path.write_bytes(damage(path.read_bytes(), how))
    for read in (
        lambda: list(shards.read_cases(info, info.cases("test"))),
        lambda: shards.check_shards(info, ["labelled", "test"]),
    ):
        with pytest.raises(UserError, match="truncated or corrupt.*Convert the data again") as caught:
            read()
        assert str(path) in caught.value.line
    shards.check_shards(info, ["labelled"])  # the others are still fine


def test_a_missing_shard(dataset):
    info = DatasetInfo.load(dataset)
    (dataset / info.cases("test")[0].shard).unlink()
    for read in (
        lambda: list(shards.read_cases(info, info.cases("test"))),
        lambda: shards.check_shards(info, ["test"]),
    ):
        with pytest.raises(UserError, match="this shard is missing"):
            read()


def test_an_empty_shard(dataset):
    info = DatasetInfo.load(dataset)
    (dataset / info.cases("test")[0].shard).write_bytes(b"")
    with pytest.raises(UserError, match="ends before its record 0"):
        list(shards.read_cases(info, info.cases("test")))


def _shape(*values):
    def change(features):
        features["grid/shape"].int64_list.value[:] = values

    return change


@pytest.mark.parametrize(
    "change,length,message",
    [
        (_shape(2**40, 1, 1), None, r"record 0 \(case labelled-0\): .*cannot reshape"),
        # TensorFlow's reader would use both as the image's shape, and would end the process on the length.
        (_shape(36, 40, 6), None, r"record 0 \(case labelled-0\): .*a box within"),
        (_shape(-1, 40, 36), None, r"record 0 \(case labelled-0\): .*positive sizes"),
        (lambda features: None, 2**45, "record 0 at byte 0: the file ends within it"),
        (lambda f: f["image/pet"].bytes_list.value.__setitem__(0, b"xyz"), None, "labelled-0.*buffer size"),
        (lambda f: [f.pop(name) for name in ("image/pet", "normalisation/pet")], None, r"it holds \['ct'\], but"),
        (lambda f: [f.pop(name) for name in ("label", "native/label")], None, "it has no label"),
        (lambda f: f["case_id"].bytes_list.value.__setitem__(0, b"b"), None, "says that this is case labelled-0"),
    ],
)
def test_false_claims_are_refused_before_a_training(tmp_path, change, length, message):
    info = object_store.falsify(object_store.write_dataset(tmp_path / "data"), change, length=length)
    with pytest.raises(UserError, match=f"labelled-00000-of-00002.tfrecord: .*{message}"):
        shards.check_records(info, ["labelled"])
    if length:
        with pytest.raises(UserError, match=message):
            commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={tmp_path / 'run'}"])
        assert not (tmp_path / "run").exists()
