"""`python -m semicml_tf.inspect`: overviews, reports of damage, and a case written as NIfTI."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import PLAIN
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records import case_record, shards, tfrecord_file, to_nifti
from semicml_tf.records.dataset import CaseEntry, DatasetInfo

COMMAND = "semicml_tf.inspect"
NORMALISATION = {"ct": Normalisation("hu", -200.0, 300.0), "pet": Normalisation("suv", 0.0, 15.0)}
GRID = Grid((4, 6, 5), np.array([[0, 0, -2.0, 9], [0, -2, 0, 11], [3, 0, 0, -8], [0, 0, 0, 1]]))
NATIVE = Grid((5, 6, 4), np.diag([-2.0, -2, 3, 1]))


def case(name, *, labelled, modalities=("ct", "pet")):
    rng = np.random.default_rng(len(name) + 31 * sum(map(ord, name)))
    constants = {modality: NORMALISATION[modality].constants(np.zeros(1)) for modality in modalities}
    label, drawn = np.zeros(GRID.shape, np.uint8), np.zeros(NATIVE.shape, np.uint8)
    label[1:3, 2:4, 1:4] = 1
    drawn[1:4, 2:4, 1:3] = 1
    return case_record.CaseRecord(
        case_id=name,
        grid=GRID,
        images={modality: rng.uniform(-1, 1, GRID.shape).astype(np.float16) for modality in modalities},
        constants=constants,
        native_grid=NATIVE,
        label=label if labelled else None,
        native_label=drawn if labelled else None,
        crop_offset=(1, 0, 2),
        full_shape=(6, 6, 8),
    )


def records():
    return {
        "labelled": [case("A", labelled=True), case("B", labelled=True), case("C", labelled=True)],
        "unlabelled": [case("D", labelled=False), case("E", labelled=False, modalities=("pet",))],
        "validation": [],
        "test": [case("F", labelled=True)],
    }


def entry(record, shard, index):
    slices = None if record.label is None else int(record.label.any(axis=(1, 2)).sum())
    return CaseEntry(record.case_id, shard, index, record.grid.shape, slices, tuple(sorted(record.images)))


def write(folder, cases_by_partition, *, entries=None):
    """Writes one shard per partition. `entries` replaces entries of dataset.json, to contradict the records."""
    folder.mkdir()
    listed, digests = {}, {}
    for partition, cases in cases_by_partition.items():
        name = shards.shard_name(partition, 0, 1)
        listed[partition] = tuple(entry(record, name, index) for index, record in enumerate(cases))
        if cases:
            with open(folder / name, "wb") as stream:
                for record in cases:
                    tfrecord_file.write(stream, case_record.encode(record))
            digests[name] = shards.sha256(folder / name)
    info = DatasetInfo(
        root=folder,
        modalities=("ct", "pet"),
        reference_modality="ct",
        spacing_mm=(3.0, 2.0, 2.0),
        normalisation=NORMALISATION,
        labels=PLAIN,
        layout="csv",
        partitions=listed if entries is None else {**listed, **entries(listed)},
        shard_sha256=digests,
        crop="body",
        window=64,
    ).with_hash()
    info.save(folder, command="python -m semicml_tf.convert --modalities=ct,pet", versions={"numpy": "2"})
    return folder


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "data", records())


def inspect(*arguments):
    commandline.call(COMMAND, [str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """The line of the error, and the output before it."""
    with pytest.raises(UserError) as caught:
        inspect(*arguments)
    return caught.value.line, capsys.readouterr().out


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(bytes(content))


def starts(path):
    with open(path, "rb") as stream:
        return [record.offset for record in tfrecord_file.scan(stream)]


def test_overview_of_a_sound_dataset(dataset, tmp_path, capsys):
    inspect(dataset, "--list", f"--json={tmp_path / 'a.json'}")
    shown = capsys.readouterr().out
    for text in (
        "contract version 2",
        DatasetInfo.load(dataset).data_hash[:12],
        "hu:-200:300 (Hounsfield units)",
        "the body's box of the grid",
        "window          64 pixels",
        "python -m semicml_tf.convert --modalities=ct,pet",
        "4 x 6 x 5 voxels (slices, rows, columns) of 3 x 2 x 2 mm",
        "6 of 6 cases, 42% of the voxels kept",  # 120 of 288
        "checked: 6 records in 3 shards",
        "every checksum, hash and feature is as it was written",
    ):
        assert text in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert lines["labelled"].split()[1:7] == ["3", "1", "ct+pet", "6", "36", "36"]
    assert "1 ct+pet, 1 pet" in lines["unlabelled"]
    assert lines["E"].split()[1:4] == ["unlabelled", "unlabelled-00000-of-00001.tfrecord:1", "pet"]
    assert "0.144" in lines["A"] and "1,0,2" in lines["A"]  # 12 voxels of 12 mm3

    body = json.loads((tmp_path / "a.json").read_text())
    assert body["partitions"] == {
        "labelled": ["A", "B", "C"],
        "unlabelled": ["D", "E"],
        "validation": [],
        "test": ["F"],
    }
    assert body["problems"] == [] and all(shard["sound"] for shard in body["shards"]) and body["made"]["command"]
    assert {shard["file"]: shard["sha256"] for shard in body["shards"]} == DatasetInfo.load(dataset).shard_sha256
    first = body["cases"][0]
    assert (first["case_id"], first["label_voxels"], first["lesion_voxels"], first["lesion_ml"]) == ("A", 12, 12, 0.144)
    image = records()["labelled"][0].images["ct"].astype(float)
    np.testing.assert_allclose(first["ranges"]["ct"], [image.min() * 250 + 50, image.max() * 250 + 50], atol=1e-3)
    assert [one["label_voxels"] for one in body["cases"] if one["partition"] == "unlabelled"] == [None, None]


def test_nocheck_reads_no_record(dataset, capsys):
    flip(dataset / "test-00000-of-00001.tfrecord", 40)
    inspect(dataset, "--nocheck", "--list")
    shown = capsys.readouterr().out
    assert "not checked" in shown and "labelled-00000-of-00001.tfrecord:2" in shown


def test_overview_of_one_shard_with_and_without_dataset_json(dataset, tmp_path, capsys):
    name = "labelled-00000-of-00001.tfrecord"
    inspect(dataset / name)
    shown = capsys.readouterr().out
    assert "3 readable records" in shown and "note" not in shown and "as it was written" in shown
    alone = tmp_path / "alone.tfrecord"
    alone.write_bytes((dataset / name).read_bytes())
    inspect(alone, f"--json={tmp_path / 'a.json'}")
    assert "no dataset.json beside the shard names it" in capsys.readouterr().out
    assert [one["partition"] for one in json.loads((tmp_path / "a.json").read_text())["cases"]] == [None] * 3


def test_a_flipped_bit_in_an_image_is_reported(dataset, tmp_path, capsys):
    path = dataset / "labelled-00000-of-00001.tfrecord"
    place = starts(path)[1]
    flip(path, place + 500)
    line, shown = refused(capsys, dataset, f"--json={tmp_path / 'a.json'}")
    assert line.startswith(f"{dataset}: not as it was written: {path.name}: its SHA-256 is ")
    assert "and 1 more in 1 file. Convert the data again" in line and "\n" not in line
    assert f"PROBLEM {path.name} record 1 at byte {place} (case B): its content fails its checksum" in shown
    body = json.loads((tmp_path / "a.json").read_text())
    assert {"file": path.name, "record": 1, "offset": place, "case": "B"}.items() <= body["problems"][1].items()
    assert [one["case_id"] for one in body["cases"]] == ["A", "C", "D", "E", "F"]  # later records are read
    assert [shard["sound"] for shard in body["shards"]] == [False, True, True]


def test_a_damaged_header_hides_later_records(dataset, capsys):
    path = dataset / "labelled-00000-of-00001.tfrecord"
    place = starts(path)[1]
    flip(path, place + 2)
    shown = refused(capsys, dataset)[1]
    assert f"record 1 at byte {place} (case B): its header fails its checksum" in shown
    assert "record 2 (case C): it is missing: the shard ends before it" in shown
    # The shard alone: damage after its first record does not make it another kind of file.
    assert "record 1 at byte" in refused(capsys, path)[1]


def test_a_truncated_shard_is_reported(dataset, capsys):
    path = dataset / "labelled-00000-of-00001.tfrecord"
    place = starts(path)[2]
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    size = len(content) - place
    shown = refused(capsys, dataset)[1]
    assert f"record 2 at byte {place} (case C): the file ends within it, after {size - 7} of {size} bytes" in shown
    path.write_bytes(content[:place])  # cut between two records: all remaining checksums are right
    shown = refused(capsys, dataset)[1]
    assert "record 2 (case C): it is missing" in shown and "its SHA-256 is" in shown


def test_swapped_and_missing_shards_are_reported(dataset, capsys):
    labelled, test = dataset / "labelled-00000-of-00001.tfrecord", dataset / "test-00000-of-00001.tfrecord"
    contents = labelled.read_bytes(), test.read_bytes()
    labelled.write_bytes(contents[1])
    test.write_bytes(contents[0])
    shown = refused(capsys, dataset)[1]
    assert shown.count("its SHA-256 is") == 2
    assert f"{labelled.name} record 0 at byte 0 (case F): dataset.json says that this is case A" in shown
    assert f"{test.name} record 1 at byte {starts(test)[1]} (case B): dataset.json does not list it" in shown
    test.unlink()
    shown = refused(capsys, dataset)[1]
    assert f"{test.name}: this shard is missing, with the cases F" in shown


def test_an_edited_dataset_json_is_reported(dataset, capsys):
    path = dataset / "dataset.json"
    path.write_text(path.read_text().replace("hu:-200:300", "hu:-200:301"))
    line, shown = refused(capsys, dataset)
    assert line.startswith(f"{path}: its data_hash does not match its contents: it was edited") and shown == ""


def test_a_stray_shard_is_named(dataset, capsys):
    (dataset / "other.tfrecord").write_bytes(b"")
    inspect(dataset)
    assert "note: other.tfrecord is in the folder, but dataset.json does not list it" in capsys.readouterr().out


def test_an_unlabelled_case_with_a_label(tmp_path, capsys):
    cases = records()
    cases["unlabelled"][0] = case("D", labelled=True)
    folder = write(tmp_path / "data", cases)
    shown = refused(capsys, folder)[1]
    assert "record 0 at byte 0 (case D): it has a label, although it is in the partition 'unlabelled'" in shown


@pytest.mark.parametrize(
    "change,message",
    [
        ({"shape": (4, 6, 6)}, "its shape is (4, 6, 5), but dataset.json says (4, 6, 6)"),
        ({"modalities": ("ct",)}, "it holds ['ct', 'pet'], but dataset.json says ['ct']"),
        ({"lesion_slices": 3}, "2 slices of its label have a lesion, but dataset.json says 3"),
        ({"case_id": "Z"}, "(case F): dataset.json says that this is case Z"),
        ({"case_id": "A"}, "dataset.json (case A): one case is listed twice, in the partitions 'labelled' and 'test'"),
        ({"index": 1}, "record 1 (case F): it is missing"),
    ],
)
def test_dataset_json_that_contradicts_the_records_is_reported(tmp_path, capsys, change, message):
    def entries(listed):
        return {"test": (dataclasses.replace(listed["test"][0], **change),)}

    folder = write(tmp_path / "data", records(), entries=entries)
    assert message in refused(capsys, folder)[1]


def test_a_labelled_case_without_a_label(tmp_path, capsys):
    folder = write(tmp_path / "data", {**records(), "test": [case("F", labelled=False)]})
    assert "(case F): it has no label, although it is in the partition 'test'" in refused(capsys, folder)[1]


def test_impossible_values_are_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(case_record, "_check", lambda record: None)  # as if another program wrote the records
    cases = records()
    cases["test"][0].images["pet"][1, 2, 3] = np.nan
    cases["labelled"][0].images["ct"][0, 0, 0] = -np.inf
    folder = write(tmp_path / "data", cases)
    shown = refused(capsys, folder)[1]
    assert "(case F): image 'pet' holds NaN or infinite values" in shown
    assert "(case A): image 'ct' holds NaN or infinite values" in shown


def other_files(tmp_path):
    import tensorflow as tf

    example = tf.train.Example()
    example.features.feature["image_raw"].bytes_list.value.append(b"x")
    old = tf.train.Example()
    old.features.feature["contract_version"].int64_list.value.append(1)

    def framed(content):
        path = tmp_path / "framed"
        with open(path, "wb") as stream:
            tfrecord_file.write(stream, content)
        return path.read_bytes()

    return {
        "empty": (b"", "expected a shard, got an empty file"),
        "text": (b"case_id,ct,pet\nA,a.nii,b.nii\n", "expected a TFRecord file, got something else"),
        "gzip": (b"\x1f\x8b\x08" + bytes(60), "expected a shard, got a gzip file"),
        "bytes": (framed(b"\xff\xff\xff"), "expected a shard, got a TFRecord file without"),
        "example": (framed(example.SerializeToString()), "other tf.train.Examples (features image_raw)"),
        "old": (framed(old.SerializeToString()), "expected records of contract version 2 or 3, got 1"),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "gzip", "bytes", "example", "old"])
def test_other_files_are_refused(tmp_path, capsys, kind):
    content, message = other_files(tmp_path)[kind]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(content)
    line, _ = refused(capsys, path)
    assert str(path) in line and message in line


def test_contradicting_options_are_refused(dataset, tmp_path, capsys):
    for arguments, message in (
        ([], "expected --path, which is missing"),
        ([tmp_path / "none"], "no such file or folder"),
        ([tmp_path], "dataset.json: expected a converted dataset"),
        ([dataset, "--case=A"], "--case and --output together"),
        ([dataset, "--output=x"], "--case and --output together"),
        (["s3://bucket/test-00000-of-00001.tfrecord"], "expected a dataset's URL, got a shard's"),
        (["memory://nowhere/data"], "memory://nowhere/data/dataset.json: expected a converted dataset"),
        ([dataset, "--case=AA", f"--output={tmp_path / 'x'}"], "expected one of 6 cases, got 'AA'. Did you mean A"),
        ([dataset / "test-00000-of-00001.tfrecord", "--case=A", "--output=x"], "expected one of 1 cases, got 'A'"),
    ):
        assert message in refused(capsys, *arguments)[0]
    assert not (tmp_path / "x").exists()


def test_as_a_process_damage_is_one_line_without_tensorflow(dataset):
    program = (
        "import sys; from semicml_tf import commandline\n"
        f"try: commandline.run('{COMMAND}', [{str(dataset)!r}])\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'matplotlib', 'apache_beam') if m in sys.modules])"
    )

    def run():
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    done = run()
    assert done.returncode == 0 and done.stderr == "" and done.stdout.endswith("[]\n")
    flip(dataset / "test-00000-of-00001.tfrecord", 40)
    done = run()
    assert done.returncode == 2 and done.stdout.endswith("[]\n")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith(f"{COMMAND}: error: {dataset}: not as it was")


def test_a_case_comes_back_from_one_shard_though_another_record_is_damaged(dataset, tmp_path, capsys):
    path = dataset / "labelled-00000-of-00001.tfrecord"
    flip(path, 500)  # case A
    alone = tmp_path / "alone.tfrecord"
    alone.write_bytes(path.read_bytes())
    for place, name in ((alone, "B"), (dataset, "C")):
        inspect(place, f"--case={name}", f"--output={tmp_path / 'look'}")
    shown = capsys.readouterr().out
    assert "ct is clipped to [-200, 300]" in shown and "holds 4 x 6 x 5 of 6 x 6 x 8 voxels" in shown
    assert sorted(file.name for file in (tmp_path / "look").iterdir()) == [
        f"{name}{end}"
        for name in "BC"
        for end in (".json", "_ct.nii.gz", "_label.nii.gz", "_native_label.nii.gz", "_pet.nii.gz")
    ]
    assert "corrupt" in refused(capsys, dataset, "--case=A", f"--output={tmp_path / 'look'}")[0]
    arguments = (dataset, "--case=B", f"--output={tmp_path / 'look'}")
    assert "B_ct.nii.gz: this file exists already" in refused(capsys, *arguments)[0]
    before = (tmp_path / "look/B_ct.nii.gz").read_bytes()
    inspect(*arguments, "--overwrite")
    assert (tmp_path / "look/B_ct.nii.gz").read_bytes() == before


def test_an_unlabelled_case_comes_back_without_a_label(dataset, tmp_path):
    inspect(dataset, "--case=E", f"--output={tmp_path / 'look'}")
    assert sorted(file.name for file in (tmp_path / "look").iterdir()) == ["E.json", "E_pet.nii.gz"]


def test_a_name_cannot_lead_out_of_the_folder():
    assert to_nifti.file_stem("../a/b") == "_._a_b" and to_nifti.file_stem("Fälle 1.2") == "Fälle 1.2"


def test_a_dataset_at_a_url(dataset, tmp_path, capsys):
    import fsspec

    store, url = fsspec.filesystem("memory"), "memory://bucket/data"
    store.rm("/bucket", recursive=True) if store.exists("/bucket") else None
    for path in dataset.iterdir():
        store.pipe(f"/bucket/data/{path.name}", path.read_bytes())
    cached = f"--cache_dir={tmp_path / 'cache'}"
    inspect(url, cached, "--nocheck")
    assert "memory://bucket/data" in capsys.readouterr().out and not list(tmp_path.rglob("cache/**/*.tfrecord"))
    inspect(url, cached, "--case=F", f"--output={tmp_path / 'look'}")
    assert [path.name for path in tmp_path.rglob("cache/**/*.tfrecord")] == ["test-00000-of-00001.tfrecord"]
    inspect(url, cached)
    shown = capsys.readouterr().out
    assert "checked: 6 records in 3 shards" in shown and "--modalities=ct,pet" in shown
    labelled = "labelled-00000-of-00001.tfrecord"
    store.pipe(f"/bucket/data/{labelled}", (dataset / labelled).read_bytes()[:-1])
    assert labelled in refused(capsys, url, f"--cache_dir={tmp_path / 'other'}")[0]
