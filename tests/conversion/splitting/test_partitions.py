"""Partitions as the command draws them: by patient, by number, in folds, by lesion size; cases with one modality."""

import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, write_split

NAMES = [f"P{number:02d}" for number in range(12)]


@pytest.fixture
def source(tmp_path):
    root = image_folders.hecktor(tmp_path / "source", NAMES)
    for number, name in enumerate(NAMES):
        mask = np.zeros(image_folders.SHAPE, np.uint8)
        mask[1:8, 2:10, : 1 + number % 6] = 1  # lesions from 56 to 336 voxels
        image_folders.write(root / f"labelsTr/{name}.nii.gz", mask)
    return root


def split_of(folder):
    return json.loads((folder / "split.json").read_text())


def test_a_number_of_labelled_patients_and_the_same_test_patients(source, tmp_path):
    few = split_of(convert(source, tmp_path / "few", "--split_seed=1", "--labelled_cases=2"))
    more = split_of(convert(source, tmp_path / "more", "--split_seed=1", "--labelled_cases=5"))
    assert (len(few["labelled"]), len(more["labelled"])) == (2, 5)
    assert few["test"] == more["test"] and set(few["labelled"]) < set(more["labelled"])
    assert few["hash"] != more["hash"]


def test_the_summary_says_whose_labels_are_not_used(source, tmp_path, capsys):
    (source / "labelsTr/P00.nii.gz").unlink()
    split = split_of(convert(source, tmp_path / "all", "--split_seed=1"))
    assert split["unlabelled"] == ["P00"] and len(split["labelled"]) == 8  # of 11: 1 to validate on, 2 to test on
    assert "labels of 0 patients are not used\n" in capsys.readouterr().out
    hidden = split_of(convert(source, tmp_path / "few", "--split_seed=1", "--labelled_fraction=0.2"))
    names = ", ".join(hidden["unlabelled"][1:])
    assert hidden["test"] == split["test"] and len(hidden["labelled"]) == 2
    assert f"labels of 6 patients are not used: {names} (unlabelled in the split)\n" in capsys.readouterr().out


def test_a_split_of_the_input_that_a_seed_replaces_is_named(source, tmp_path, capsys):
    write_split(source, {"labelled": NAMES[:2], "test": NAMES[2:]})
    convert(source, tmp_path / "drawn", "--split_seed=1")
    assert (
        f"note: {source / 'split.json'} is not used, because --split_seed draws the split\n" in capsys.readouterr().out
    )
    convert(source, tmp_path / "given")
    assert "is not used" not in capsys.readouterr().out


def test_a_table_that_grows_keeps_its_split(source, tmp_path, capsys):
    def table(names):
        rows = [
            f"{name},imagesTr/{name}__CT.nii.gz,imagesTr/{name}__PT.nii.gz,"
            + (f"labelsTr/{name}.nii.gz" if (source / f"labelsTr/{name}.nii.gz").exists() else "")
            for name in names
        ]
        (source / "cases.csv").write_text("\n".join(["case,ct,pet,label", *rows]))
        return source / "cases.csv"

    (source / "labelsTr/P02.nii.gz").rename(tmp_path / "mask")
    first = convert(table(NAMES[:6]), tmp_path / "first", "--split_seed=0")
    before = split_of(first)
    assert before["unlabelled"] == ["P02"]
    (tmp_path / "mask").rename(source / "labelsTr/P02.nii.gz")
    (source / "labelsTr/P07.nii.gz").unlink()
    keep = f"--keep_split={first / 'split.json'}"
    capsys.readouterr()
    after = split_of(convert(table(NAMES[1:9]), tmp_path / "second", keep))
    printed = capsys.readouterr().out
    assert "note: in the split to keep, but not in the input: P00" in printed
    # A mask that has come since is reported, and used where that is asked for.
    assert "labels of 1 patient are not used: P02" in printed
    there = set(NAMES[1:9])
    for name in ("validation", "test"):
        assert after[name] == [who for who in before[name] if who in there]
    assert set(after["labelled"]) == (set(before["labelled"]) & there) | {"P06", "P08"}
    assert after["unlabelled"] == ["P02", "P07"]
    used = split_of(convert(table(NAMES[1:9]), tmp_path / "third", keep, "--labelled_cases=all"))
    assert used["unlabelled"] == ["P07"] and set(used["labelled"]) == {*after["labelled"], "P02"}


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ("--split_seed=0", "--labelled_cases=none"),
            "expected --labelled_cases=all or a number of patients from 1 on",
        ),
        (("--split_seed=0", "--labelled_cases=all", "--labelled_fraction=0.5"), "contradict each other"),
        (("--labelled_fraction=0.5",), "--labelled_fraction is for a split that is drawn"),
    ],
)
def test_flags_that_hide_labels(source, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        convert(source, tmp_path / "out", *flags)


def test_every_patient_validates_in_one_fold(source, tmp_path):
    flags = ("--split_seed=0", "--folds=3", "--labelled_cases=2")
    first = convert(source, tmp_path / "0", *flags, "--fold=0")
    others = [
        convert(source, tmp_path / str(fold), f"--split={first / 'split.json'}", f"--fold={fold}") for fold in (1, 2)
    ]
    splits = [split_of(folder) for folder in (first, *others)]
    assert len({tuple(split["test"]) for split in splits}) == 1
    validation = [name for split in splits for name in split["validation"]]
    assert sorted(validation + splits[0]["test"]) == NAMES
    # Taken from the file, a fold is what it is when drawn.
    drawn = convert(source, tmp_path / "again", *flags, "--fold=2")
    assert DatasetInfo.load(drawn).data_hash == DatasetInfo.load(others[1]).data_hash


def test_stratified_draws_open_no_mask_of_an_unlabelled_patient(source, tmp_path):
    flags = ("--split_seed=4", "--stratify=lesion_size", "--labelled_cases=2", "--validation_fraction=0.17")
    split = split_of(convert(source, tmp_path / "out", *flags))
    assert split["stratify"] == "lesion_size" and len(split["labelled"]) == len(split["validation"]) == 2
    for name in split["unlabelled"]:
        (source / f"labelsTr/{name}.nii.gz").write_bytes(b"not to be opened")
    assert split_of(convert(source, tmp_path / "again", *flags)) == split


def test_studies_of_one_patient_stay_together(source, tmp_path):
    rows = [
        f"{name},PATIENT_{int(name[1:]) // 2},imagesTr/{name}__CT.nii.gz,imagesTr/{name}__PT.nii.gz,"
        f"labelsTr/{name}.nii.gz"
        for name in NAMES
    ]
    manifest = source / "cases.csv"
    manifest.write_text("\n".join(["case,patient,ct,pet,label", *rows]))
    info = DatasetInfo.load(convert(manifest, tmp_path / "out", "--split_seed=0", "--test_fraction=0.34"))
    home = {case.case_id: partition for partition, cases in info.partitions.items() for case in cases}
    assert len(home) == len(NAMES)
    assert all(home[one] == home[other] for one, other in zip(NAMES[::2], NAMES[1::2]))
    path = write_split(tmp_path, {"labelled": [NAMES[0]], "test": [NAMES[1]]})
    with pytest.raises(UserError, match="patient PATIENT_0 is in two partitions"):
        convert(manifest, tmp_path / "bad", f"--split={path}")


def test_a_case_with_one_modality_where_that_is_allowed(source, tmp_path):
    (source / "imagesTr/P05__PT.nii.gz").unlink()
    (source / "imagesTr/P06__CT.nii.gz").unlink()
    split = {"labelled": ["P00"], "validation": ["P01"], "unlabelled": ["P02", "P05"], "test": ["P03", "P06"]}
    path = write_split(tmp_path, split)
    with pytest.raises(UserError, match="P0[56]__.*2 errors in 2 cases"):
        convert(source, tmp_path / "bad", f"--split={path}")
    info = DatasetInfo.load(convert(source, tmp_path / "out", f"--split={path}", "--allow_missing_modality"))
    held = {case.case_id: info.modalities_of(case) for cases in info.partitions.values() for case in cases}
    assert held["P05"] == ("ct",) and held["P06"] == ("pet",) and held["P03"] == ("ct", "pet")
    lone = next(record for record in shards.read_cases(info, info.cases("test")) if record.case_id == "P06")
    assert set(lone.images) == {"pet"} and lone.label.any()
    split = {"labelled": ["P00", "P05"], "validation": ["P06"], "unlabelled": ["P02"], "test": ["P03"]}
    write_split(tmp_path, split)
    info = DatasetInfo.load(convert(source, tmp_path / "more", f"--split={path}", "--allow_missing_modality"))
    (lone,) = shards.read_cases(info, info.cases("validation"))  # Its label lies on the grid of the reference, CT.
    assert set(lone.images) == {"pet"} and lone.label.any()
    assert [info.modalities_of(case) for case in info.cases("labelled")] == [("ct", "pet"), ("ct",)]


def test_pseudonyms_in_the_dataset_and_names_in_the_map(source, tmp_path, capsys):
    path = write_split(tmp_path, {"labelled": ["P00", "P01"], "validation": ["P02"], "test": ["P03"]})
    flags = (f"--split={path}", "--pseudonymize", f"--pseudonym_map={tmp_path / 'who.json'}")
    folder = convert(source, tmp_path / "out", *flags)
    assert f"{tmp_path / 'who.json'} has the name of each" in capsys.readouterr().out
    who = json.loads((tmp_path / "who.json").read_text())["cases"]
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    for pseudonym in who:  # which may begin as a name does
        content = content.replace(pseudonym.encode(), b"")
    assert not any(name.encode() in content for name in NAMES) and str(source).encode() not in content
    info = DatasetInfo.load(folder)
    assert {who[case.case_id]["case"] for case in info.cases("labelled")} == {"P00", "P01"}
    assert DatasetInfo.load(convert(source, tmp_path / "again", *flags)).data_hash == info.data_hash


def test_a_plan_chooses_what_is_not_given_and_says_why(source, tmp_path, capsys):
    flags = ("--split_seed=0", "--plan=auto", "--normalisation=pet=suv:0:10")
    info = DatasetInfo.load(convert(source, tmp_path / "out", *flags))
    printed = capsys.readouterr().out
    # The tests' own flags give the spacing.
    assert info.spacing_mm == (3, 4, 4) and "plan: --spacing_mm=3,4,4: as given" in printed
    assert str(info.normalisation["pet"]) == "suv:0:10" and "plan: --normalisation=pet=suv:0:10: as given" in printed
    assert info.window == 32 and "plan: --window=32" in printed
    assert f"flags of training: plan.flags, plan3d.flags in {info.root}\n" in printed
    config = commandline.config("semicml_tf.train", [f"--flagfile={info.root}/plan.flags", "--dataset=d", "--output=r"])
    assert config.window == 32
    fingerprint = json.loads((tmp_path / "out/fingerprint.json").read_text())
    tested = len(info.cases("test"))
    assert tested and fingerprint["cases"] == len(NAMES) - tested
    assert fingerprint["images"]["ct"]["spacing_mm"]["slice"]["median"] == 3
    # Masks of the others stayed closed, or are for scores alone.
    assert fingerprint["labelled"] == len(info.cases("labelled")) < len(NAMES)
    given = DatasetInfo.load(convert(source, tmp_path / "given", "--split_seed=0", "--plan=auto", "--window=48"))
    assert given.window == 48


def test_a_guessed_modality_is_verified_by_what_was_guessed(source, tmp_path, capsys):
    names = NAMES[:4]
    rows = [f"{name},imagesTr/{name}__CT.nii.gz,imagesTr/{name}__CT.nii.gz,labelsTr/{name}.nii.gz" for name in names]
    for number, name in enumerate(names):
        ct = image_folders.ct(number)
        ct[:, :, :2] = -1000
        image_folders.write(source / f"imagesTr/{name}__CT.nii.gz", ct)
        # The body lies high: a guess by the intensities, and a finding where one is cut at 0.
        image_folders.write(source / f"imagesTr/{name}__PT.nii.gz", np.maximum(ct, 0) if number == 3 else ct)
    rows = [row.replace("__CT.nii.gz,labels", "__PT.nii.gz,labels") for row in rows]
    (source / "cases.csv").write_text("\n".join(["case,ct,second,label", *rows]))
    flags = (*FLAGS[1:], "--modalities=second", "--split_seed=0", "--plan=auto")
    with pytest.raises(UserError, match="P03__PT.nii.gz: .*'second' has values from 0 to .*expected CT in HU"):
        commandline.call(
            "semicml_tf.convert", [f"--input={source / 'cases.csv'}", f"--output={tmp_path / 'out'}", *flags]
        )
    printed = capsys.readouterr().out
    assert printed.startswith("warning: one modality, second: the default methods of training need at least two\n")
    assert "plan: --normalisation=second=hu:-200:300: a guess" in printed and "verified again" in printed


def test_a_picture_of_every_case_and_a_page(source, tmp_path):
    folder = convert(source, tmp_path / "out", "--split_seed=0", "--preview")
    page = (folder / "preview/index.html").read_text()
    assert sorted(path.stem for path in (folder / "preview").glob("*.png")) == NAMES
    assert all(f"{name}.png" in page for name in NAMES)
    plain = convert(source, tmp_path / "plain", "--split_seed=0")
    assert not (plain / "preview").exists()
    assert DatasetInfo.load(plain).data_hash == DatasetInfo.load(folder).data_hash
