"""`semicml_tf.convert`: the dataset that it makes, and what it refuses."""

import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, hecktor, write_split

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    return hecktor(tmp_path / "source")


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def refused(source, output, message, *flags):
    """The command's one line; nothing is left where the output would be."""
    with pytest.raises(UserError, match=message) as caught:
        convert(source, output, *flags)
    line = caught.value.line
    assert "\n" not in line and (caught.value.remedy or caught.value.path or line.startswith("expected --"))
    assert not output.exists()
    return line


def records(folder, partition):
    info = DatasetInfo.load(folder)
    return list(shards.read_cases(info, info.cases(partition)))


def test_one_case_by_closed_form(source, tmp_path):
    (record,) = records(convert(source, tmp_path / "out", "--spacing_mm=0,0,0"), "labelled")
    ct = image_folders.ct(0).astype(np.float32)
    # The files' axes run left, back, head reversed: (column, row, slice).
    expected = (np.clip(ct, -200, 300) - 50) / 250
    turned = np.transpose(expected, (2, 1, 0))
    np.testing.assert_array_equal(record.images["ct"], turned.astype(np.float16))
    pet = np.transpose((np.clip(image_folders.pet(0), 0, 15) - 7.5) / 7.5, (2, 1, 0))
    np.testing.assert_array_equal(record.images["pet"], pet.astype(np.float16))
    np.testing.assert_array_equal(record.label, np.transpose(image_folders.label(), (2, 1, 0)))
    np.testing.assert_array_equal(record.native_label, image_folders.label())
    np.testing.assert_allclose(record.native_grid.affine, image_folders.AFFINE, atol=1e-4)
    np.testing.assert_array_equal(resample_mask(record.label, record.grid, record.native_grid), record.native_label)


def test_modalities_of_other_grids_land_on_the_reference_grid(tmp_path):
    root = tmp_path / "source"
    fine, coarse = np.diag([2.0, 2, 3, 1]), np.diag([-4.0, 5, 3, 1])
    coarse[:3, 3] = (40, -10, -6)  # covers all of the CT, with its first axis reversed
    place = np.indices((16, 14, 10))
    x = 2.0 * place[0]  # mm
    image_folders.write(root / "imagesTr/A__CT.nii.gz", (10 * x - 200).astype(np.float32), fine)
    image_folders.write(root / "labelsTr/A.nii.gz", (x > 15).astype(np.uint8), fine)
    x = 40 - 4.0 * np.indices((13, 10, 14))[0]
    image_folders.write(root / "imagesTr/A__PT.nii.gz", (0.2 * x + 1).astype(np.float32), coarse)
    write_split(root, {"labelled": ["A"]})
    (record,) = records(convert(root, tmp_path / "out", "--spacing_mm=0,0,0"), "labelled")
    ct_x = (record.images["ct"].astype(float) * 250 + 50 + 200) / 10
    pet_x = (record.images["pet"].astype(float) * 7.5 + 7.5 - 1) / 0.2
    # Equal in millimetres up to the rounding of float16 (5e-4 of 250 HU and of 7.5 SUV).
    np.testing.assert_allclose(ct_x, pet_x, atol=0.05)
    np.testing.assert_array_equal(record.label, ct_x > 15)


def test_unlabelled_records_hold_no_label_and_its_file_is_not_opened(source, tmp_path):
    (source / "labelsTr/P2.nii.gz").write_bytes(b"not a NIfTI file")
    folder = convert(source, tmp_path / "out")
    seen = 0
    for path in folder.glob("*.tfrecord"):
        for serialized in tf.data.TFRecordDataset(str(path)):
            features = tf.train.Example.FromString(serialized.numpy()).features.feature
            labels = {name for name in features if "label" in name}
            assert labels == (set() if path.name.startswith("unlabelled") else {"label", "native/label"})
            seen += 1
    assert seen == 4
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert [case["lesion_slices"] for case in description["partitions"]["unlabelled"]] == [None]
    (source / "labelsTr/P2.nii.gz").unlink()
    assert contents(convert(source, tmp_path / "again")) == contents(folder)


def test_the_same_input_gives_the_same_bytes_and_other_flags_another_dataset(source, tmp_path):
    one = contents(convert(source, tmp_path / "one"))
    assert one == contents(convert(source, tmp_path / "two"))
    other = contents(convert(source, tmp_path / "three", "--spacing_mm=3,3,3"))
    assert one["dataset.json"] != other["dataset.json"]


def test_shards_hold_sorted_cases_evenly(tmp_path):
    names = [f"P{i:02d}" for i in range(7)]
    root = image_folders.hecktor(tmp_path / "source", names)
    write_split(root, {"labelled": names[::-1]})
    info = DatasetInfo.load(convert(root, tmp_path / "out", "--cases_per_shard=3"))
    assert [(c.case_id, c.shard[8:15], c.index) for c in info.cases("labelled")] == [
        ("P00", "-00000-", 0), ("P01", "-00000-", 1), ("P02", "-00000-", 2),
        ("P03", "-00001-", 0), ("P04", "-00001-", 1), ("P05", "-00002-", 0), ("P06", "-00002-", 1),
    ]  # fmt: skip
    assert [record.case_id for record in shards.read_cases(info, info.cases("labelled"))] == names
    assert {case.lesion_slices for case in info.cases("labelled")} == {3}


def test_the_dataset_tells_how_it_was_made(source, tmp_path, capsys):
    folder = convert(source, tmp_path / "out", "--label_values=1")
    body = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert "--label_values=1" in body["command"] and "--spacing_mm=3,4,4" in body["command"]
    assert body["source"] == str(source.resolve()) and set(body["versions"]) >= {"semicml_tf", "nibabel"}
    assert json.loads((folder / "split.json").read_text(encoding="utf-8"))["validation"] == ["P3"]
    printed = capsys.readouterr().out
    assert "HECKTOR 2022: 4 cases; ct 4, pet 4; labels 4" in printed and "split.json (--split was not given)" in printed


def test_cases_outside_the_split_are_left_out_with_a_note(source, tmp_path, capsys):
    path = write_split(tmp_path, {"labelled": ["P1"], "excluded": ["P3"]})
    folder = convert(source, tmp_path / "out", f"--split={path}")
    assert "left out: P2, P4" in capsys.readouterr().out
    assert len(list(folder.glob("*.tfrecord"))) == 1


def test_a_drawn_split(source, tmp_path):
    fractions = ("--labelled_fraction=0.25", "--validation_fraction=0.25", "--test_fraction=0.25")
    info = DatasetInfo.load(convert(source, tmp_path / "out", "--split_seed=3", *fractions))
    assert {name: len(cases) for name, cases in info.partitions.items()} == dict.fromkeys(image_folders.SPLIT, 1)


@pytest.mark.parametrize("layout", ["auto", "csv"])
def test_a_manifest_with_partitions(source, tmp_path, layout):
    rows = [
        f"{case},imagesTr/{case}__CT.nii.gz,imagesTr/{case}__PT.nii.gz,labelsTr/{case}.nii.gz,{partition}"
        for partition, (case,) in image_folders.SPLIT.items()
    ]
    path = source / "cases.csv"
    path.write_text("\n".join(["case,ct,pet,label,partition", *rows]))
    manifest = convert(path, tmp_path / "csv", f"--layout={layout}")
    plain = convert(source, tmp_path / "plain")
    tfrecords = {name: digest for name, digest in contents(plain).items() if name.endswith(".tfrecord")}
    assert tfrecords.items() <= contents(manifest).items()
    path.write_text(path.read_text(encoding="utf-8").replace(",test", ",holdout"))
    assert str(path) in refused(
        path, tmp_path / "bad", "case P4 has the unknown partition 'holdout'.*Known are labelled, unlabelled"
    )


def test_percentiles_come_from_the_volume_on_its_own_grid(tmp_path):
    # Else they would change with the box of the reference modality, which prediction does not have.
    root = tmp_path / "source"
    array = image_folders.pet(5)
    image_folders.write(root / "B1/B1_t2.nii.gz", array)
    write_split(root, {"unlabelled": ["B1"]})
    flags = ("--modalities=t2", "--normalisation=t2=percentile:5:95", "--spacing_mm=6,7,7")
    (record,) = records(convert(root, tmp_path / "out", *flags), "unlabelled")
    assert (record.constants["t2"].low, record.constants["t2"].high) == pytest.approx(np.percentile(array, [5, 95]))


def bad_case(source, kind):
    """Spoils one file of the labelled case; returns the file's name and the message to expect."""
    ct, pet = source / "imagesTr/P1__CT.nii.gz", source / "imagesTr/P1__PT.nii.gz"
    label = source / "labelsTr/P1.nii.gz"
    if kind == "missing modality":
        pet.unlink()
        return pet, "case P1 lacks the modality 'pet'"
    if kind == "missing label":
        label.unlink()
        return label, "case P1 lacks its label"
    if kind == "truncated":
        pet.write_bytes(pet.read_bytes()[:400])
        return pet, "truncated"
    if kind in ("nan", "inf"):
        array = image_folders.pet()
        array[1, 1, 1] = float(kind)
        image_folders.write(pet, array)
        return pet, "1 of 720 voxels are NaN or infinite"
    if kind == "4-D":
        image_folders.write(ct, np.zeros((4, 4, 4, 2), np.int16))
        return ct, r"expected a 3-D volume, got 4-D of shape \(4, 4, 4, 2\)"
    if kind == "label shape":
        image_folders.write(label, image_folders.label()[:-1])
        return label, r"has shape \(9, 12, 6\).*not the grid of P1__CT.nii.gz \(shape \(10, 12, 6\)"
    if kind == "label place":
        moved = image_folders.AFFINE.copy()
        moved[0, 3] += 2
        image_folders.write(label, image_folders.label(), moved)
        return label, r"not its position: the first voxel is off by \(\+2.00, \+0.00, \+0.00\) mm"
    if kind == "label values":
        image_folders.write(label, 2 * image_folders.label())
        return label, r"expected label values \[0, 1\], got also \[2\]"
    if kind == "empty label":
        image_folders.write(label, 0 * image_folders.label())
        return label, "is empty.*--allow_empty_labels"
    if kind == "far apart":
        moved = image_folders.AFFINE.copy()
        moved[0, 3] += 15
        image_folders.write(pet, image_folders.pet(), moved)
        return pet, "covers 25% of the box of 'ct'"
    raise AssertionError(kind)


KINDS = (
    "missing modality", "missing label", "truncated", "nan", "inf", "4-D", "label shape", "label place",
    "label values", "empty label", "far apart",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input(source, tmp_path, kind):
    path, message = bad_case(source, kind)
    assert str(path) in refused(source, tmp_path / "out", message)


def test_empty_labels_on_request(source, tmp_path):
    bad_case(source, "empty label")
    info = DatasetInfo.load(convert(source, tmp_path / "out", "--allow_empty_labels"))
    assert info.cases("labelled")[0].lesion_slices == 0


def test_a_lesion_lost_at_a_coarse_spacing_is_reported(source, tmp_path, capsys):
    speck = np.zeros(image_folders.SHAPE, np.uint8)
    speck[5, 5, 3] = 1
    image_folders.write(source / "labelsTr/P1.nii.gz", speck)
    convert(source, tmp_path / "out", "--spacing_mm=9,9,9")
    assert "lesion of case P1 is too small" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "verify.json").read_text(encoding="utf-8"))["findings"]
    assert "P1" in [one["case"] for one in found if one["code"] == "label_volume_changed"]


def test_the_label_may_lie_on_an_image_that_is_not_converted(source, tmp_path):
    other = np.diag([3.0, 3, 3, 1])
    other[:3, 3] = (-9, -11, -8)
    for case in image_folders.SPLIT["labelled"] + ["P3", "P4"]:
        image_folders.write(source / f"imagesTr/{case}__MR.nii.gz", np.ones((7, 8, 6), np.int16), other)
        image_folders.write(source / f"labelsTr/{case}.nii.gz", image_folders.label((7, 8, 6)), other)
    refused(source, tmp_path / "bad", "not the grid of P1__CT")
    (record,) = records(convert(source, tmp_path / "out", "--label_on=mr"), "labelled")
    assert record.native_grid.shape == (7, 8, 6) and set(record.images) == {"ct", "pet"}


@pytest.mark.parametrize(
    "split,message",
    [
        ({"labelled": ["P1"], "test": ["P1"]}, "case P1 is in two partitions"),
        ({"labelled": ["P1", "P1"]}, "case P1 is twice"),
        ({"labelled": ["P9"]}, "case P9 into 'labelled', but it has no files"),
        ({"train": ["P1"]}, "unknown partition 'train'"),
    ],
)
def test_bad_splits(source, tmp_path, split, message):
    write_split(source, split)
    assert str(source) in refused(source, tmp_path / "out", message)


def test_duplicate_ids(source, tmp_path):
    path = source / "cases.csv"
    row = "P1,imagesTr/P1__CT.nii.gz,imagesTr/P1__PT.nii.gz,labelsTr/P1.nii.gz,labelled"
    path.write_text("\n".join(["case,ct,pet,label,partition", row, row]))
    assert str(path) in refused(path, tmp_path / "out", "row 3: case P1 is there twice")


def test_contradictions_and_gaps_in_the_flags(source, tmp_path):
    out = tmp_path / "out"
    refused(source, out, "contradict", "--split=a.json", "--split_seed=1")
    refused(source, out, "layout hecktor has the modalities ct, pet, mr, got 't2'", "--modalities=ct,t2")
    refused(source, out, "expected --layout to be one of auto, hecktor, .* got 'minc'", "--layout=minc")
    refused(tmp_path / "none", out, "no such folder")
    refused(source, out, "--cases_per_shard", "--cases_per_shard=0")
    (source / "split.json").unlink()
    refused(source, out, "the partitions of the cases are not given")


def test_the_output_must_be_free_and_writable(source, tmp_path):
    out = convert(source, tmp_path / "out")
    with pytest.raises(UserError, match="out: the output folder is not empty.*--overwrite"):
        convert(source, out)
    before = contents(out)
    assert contents(convert(source, out, "--overwrite")) == before
    for folder, message in [(source, "contains the input"), (tmp_path, "contains the input")]:
        with pytest.raises(UserError, match=message):
            convert(source, folder, "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(UserError, match="replaces datasets only"):
        convert(source, tmp_path / "mine", "--overwrite")
    with pytest.raises(UserError, match="expected a folder, got a file"):
        convert(source, source / "split.json")
    with pytest.raises(UserError, match="cannot write here"):
        convert(source, source / "split.json/out")
    if pathlib.Path("/proc/self").is_dir():
        with pytest.raises(UserError, match="cannot write here"):
            convert(source, "/proc/out")


def test_a_failed_overwrite_keeps_the_old_dataset(source, tmp_path):
    out = convert(source, tmp_path / "out")
    before = contents(out)
    bad_case(source, "truncated")
    with pytest.raises(UserError, match="truncated"):
        convert(source, out, "--overwrite")
    assert contents(out) == before


@pytest.mark.parametrize("kind", ["missing modality", "nan", "label values"])
def test_as_a_process_a_mistake_is_one_line_on_stderr(source, tmp_path, kind):
    # The labelled case comes first in the split's order: spoil the last one, so that shards stand by then.
    write_split(source, {"labelled": ["P4"], "unlabelled": ["P2"], "validation": ["P3"], "test": ["P1"]})
    path, _ = bad_case(source, kind)
    command = [sys.executable, "-m", "semicml_tf.convert", f"--input={source}", f"--output={tmp_path / 'out'}", *FLAGS]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [*command, "--cases_per_shard=1"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("semicml_tf.convert: error: ") and str(path) in done.stderr
    # What was verified is kept for the next call; what was found, for programs.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".out.work", "out.verify.json", "source"]
    told = json.loads((tmp_path / "out.verify.json").read_text(encoding="utf-8"))
    finding = told["findings"][0]
    assert told["errors"] == 1 and finding["severity"] == "error" and finding["file"] == str(path) and finding["remedy"]


def sts():
    for folder in (os.environ.get("SEMICML_TF_STS"), REPOSITORY.parent / "shared/data/sts"):
        if folder and pathlib.Path(folder, "imagesTr").is_dir():
            return pathlib.Path(folder)
    return None


@pytest.mark.skipif(sts() is None, reason="the STS data is not on this machine")
def test_real_patients(tmp_path):
    path = write_split(tmp_path, {"labelled": ["STS_002"], "unlabelled": ["STS_031"]})
    flags = (f"--flagfile={REPOSITORY / 'configs/sts_ct_pet.flags'}", f"--split={path}")
    (record,) = records(convert(sts(), tmp_path / "out", *flags, "--spacing_mm=3.27,4,4"), "labelled")
    image = nibabel.load(sts() / "labelsTr/STS_002.nii.gz")
    np.testing.assert_allclose(record.native_grid.affine, image.get_qform(), atol=1e-3)
    lesion = record.label.sum() * record.grid.voxel_volume_ml
    truth = np.asarray(image.dataobj).sum() * record.native_grid.voxel_volume_ml
    assert lesion == pytest.approx(truth, rel=0.03)
    # FDG collects in the tumour: registered, the lesion is brighter in PET than what surrounds it.
    pet = record.images["pet"].astype(np.float32)
    assert pet[record.label == 1].mean() > pet[record.label == 0].mean() + 0.1


def test_a_manifest_goes_before_what_the_files_beside_it_are_called(tmp_path):
    (tmp_path / "volumes").mkdir(parents=True)
    for name in ("A_ct.nii.gz", "A_pt.nii.gz"):
        (tmp_path / "volumes" / name).touch()
    (tmp_path / "manifest.csv").write_text("case,ct,pet\nA,volumes/A_ct.nii.gz,volumes/A_pt.nii.gz\n")
    line = refused(tmp_path, tmp_path / "out", "none of the known layouts")
    assert f"Pass --input={tmp_path / 'manifest.csv'}" in line


def test_the_stored_command_can_be_repeated(source, tmp_path):
    spaced = source.rename(tmp_path / "Bilder der Fälle")
    told = json.loads(
        (convert(spaced, tmp_path / "out", "--label_roi=GTV 1") / "dataset.json").read_text(encoding="utf-8")
    )["command"]
    expected = [f"--input={spaced}", *(f for f in FLAGS if "workers" not in f), "--label_roi=GTV 1"]
    assert sorted(shlex.split(told)[3:]) == sorted(expected)


def test_excluded_cases_and_empty_partitions_are_reported(source, tmp_path, capsys):
    write_split(source, {"unlabelled": ["P1", "P2"], "validation": ["P3"], "excluded": ["P4"]})
    convert(source, tmp_path / "out")
    told = capsys.readouterr().out
    assert "note: excluded by the split: P4" in told
    assert "note: no case is in the partition 'labelled'" in told and "partition 'validation'" not in told
