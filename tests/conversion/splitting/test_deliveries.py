"""Cases that come in deliveries: who is where, and what is not done again."""

import json
import os
import shutil

import pytest

from semicml_tf import commandline
from semicml_tf.conversion.splitting import resolve_deliveries
from semicml_tf.conversion.verification import findings
from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import deliveries
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.records.dataset import DatasetInfo
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, write_split

LATER = ("N1", "N2", "N3")
OTHERWISE = (("N1", "unlabelled"), ("N2", "unlabelled"), ("N3", "excluded"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """P1 to P4 with a split; then N1 to N3 without one, of whom N2 has no label."""
    root = tmp_path_factory.mktemp("deliveries") / "source"
    image_folders.hecktor(root / "span-1")
    write_split(root / "span-1", image_folders.SPLIT)
    for number, case in enumerate(LATER, start=10):
        image_folders.write(root / f"span-2/imagesTr/{case}__CT.nii.gz", image_folders.ct(number))
        image_folders.write(root / f"span-2/imagesTr/{case}__PT.nii.gz", image_folders.pet(number))
        if case != "N2":
            image_folders.write(root / f"span-2/labelsTr/{case}.nii.gz", image_folders.label())
    (root / "incoming").mkdir()  # not a delivery yet
    return root


def partitions(folder):
    info = DatasetInfo.load(folder)
    return {name: [case.case_id for case in info.partitions[name]] for name in PARTITIONS}


def split_of(source, *flags):
    return resolve_deliveries.resolve(config_of(source, *flags)).split


def config_of(source, *flags):
    given = [*FLAGS, f"--input={source}", f"--output={source.parent / 'out'}", *flags]
    return commandline.config("semicml_tf.convert", given)


def test_a_new_delivery_keeps_partitions_and_finished_cases(source, tmp_path):
    cache = f"--case_cache={tmp_path / 'cache'}"
    first = convert(source, tmp_path / "first", "--span=1", cache)
    assert partitions(first) == image_folders.SPLIT
    kept = {path: os.stat(path).st_ino for path in (tmp_path / "cache").rglob("*.*")}
    assert len(kept) == 3 * 4  # a report, a record and its JSON a case

    second = convert(source, tmp_path / "second", cache, f"--keep_split={first / 'split.json'}")
    assert partitions(second) == {
        "labelled": ["N1", "N3", "P1"],
        "unlabelled": ["N2", "P2"],
        "validation": ["P3"],
        "test": ["P4"],
    }
    assert {path: os.stat(path).st_ino for path in kept} == kept
    assert len(list((tmp_path / "cache").rglob("*.*"))) == 3 * 7
    # As it would have been without cache and former split.
    alone = convert(source, tmp_path / "alone")
    assert DatasetInfo.load(second).data_hash == DatasetInfo.load(alone).data_hash
    assert {card["case_id"]: card["span"] for card in case_cards.load(second)} == {
        **dict.fromkeys(("P1", "P2", "P3", "P4"), 1),
        **dict.fromkeys(LATER, 2),
    }


def test_a_damaged_record_of_the_cache_is_made_again(source, tmp_path):
    cache = tmp_path / "cache"
    first = convert(source, tmp_path / "first", "--span=1", f"--case_cache={cache}")
    for path in cache.rglob("*.tfrecord"):
        path.write_bytes(path.read_bytes()[:-1])
    second = convert(source, tmp_path / "second", "--span=1", f"--case_cache={cache}")
    commandline.call("semicml_tf.inspect", [str(second)])
    assert DatasetInfo.load(first).data_hash == DatasetInfo.load(second).data_hash


def test_what_is_resolved_is_what_is_converted(source, tmp_path):
    resolved = resolve_deliveries.resolve(config_of(source))
    assert resolved.span == 2
    made = convert(source, tmp_path / "out")
    assert json.loads((made / "split.json").read_text()) == resolved.split.to_json()
    # A file that is touched counts as changed, one outside of the deliveries that are read does not.
    assert resolve_deliveries.resolve(config_of(source)).fingerprint == resolved.fingerprint
    before = resolve_deliveries.resolve(config_of(source, "--span=1")).fingerprint
    os.utime(source / "span-2/imagesTr/N1__CT.nii.gz", (1, 1))
    assert resolve_deliveries.resolve(config_of(source)).fingerprint != resolved.fingerprint
    assert resolve_deliveries.resolve(config_of(source, "--span=1")).fingerprint == before != resolved.fingerprint


def test_what_is_hidden_changes_no_fingerprint_and_what_is_linked_does(tmp_path):
    span, elsewhere = tmp_path / "span-1", tmp_path / "elsewhere"
    for folder in (span, elsewhere):
        folder.mkdir()
    (elsewhere / "image.nii").write_text("1")
    (span / "images").symlink_to(elsewhere)
    (span / "label.nii").symlink_to(elsewhere / "image.nii")
    (elsewhere / "round").symlink_to(span)
    (elsewhere / "nowhere").symlink_to(tmp_path / "none")
    told = [resolve_deliveries.fingerprint([span])]
    (span / ".DS_Store").write_text("")
    (elsewhere / ".nfs0001").write_text("")
    assert resolve_deliveries.fingerprint([span]) == told[0]
    (elsewhere / "image.nii").write_text("12")
    told.append(resolve_deliveries.fingerprint([span]))
    # What a manifest names outside of the deliveries.
    (tmp_path / "mask.nii").write_text("1")
    told.append(resolve_deliveries.fingerprint([span], [tmp_path / "mask.nii", tmp_path / "none"]))
    (tmp_path / "mask.nii").write_text("12")
    told.append(resolve_deliveries.fingerprint([span], [tmp_path / "mask.nii"]))
    assert len(set(told)) == 4


def test_a_later_deliverys_own_split_speaks_for_the_new_patients_alone(source, tmp_path):
    copied = shutil.copytree(source, tmp_path / "source")
    write_split(copied / "span-2", {"test": ["N1"], "unlabelled": ["N2"], "excluded": ["N3"]})
    split = split_of(copied)
    assert (split["test"], split["unlabelled"], split["excluded"]) == (("N1", "P4"), ("N2", "P2"), ("N3",))
    write_split(copied / "span-2", {"test": ["N1"]})  # the others are left out, as ever
    assert split_of(copied)["unlabelled"] == ("P2",)
    # Who was somewhere stays there.
    former = write_split(tmp_path, {**image_folders.SPLIT, "validation": ["P3", "N1"]})
    split = split_of(copied, f"--keep_split={former}")
    assert (split["validation"], split["test"]) == (("N1", "P3"), ("P4",))


def test_a_drawn_split_stays_as_it_is(source, tmp_path):
    copied = shutil.copytree(source, tmp_path / "source")
    (copied / "span-1/split.json").unlink()
    with pytest.raises(UserError, match="the partitions of the cases are not given"):
        split_of(copied)
    drawn = ("--split_seed=3", "--labelled_fraction=0.25", "--validation_fraction=0.25", "--test_fraction=0.25")
    first, both = split_of(copied, "--span=1", *drawn), split_of(copied, *drawn)
    assert all(set(first[name]) <= set(both[name]) for name in PARTITIONS)
    assert set(both["labelled"]) - set(first["labelled"]) == {"N1", "N3"}
    # Another seed, or a case that is taken away, has no say any more.
    (tmp_path / "split.json").write_text(json.dumps(first.to_json()))
    further = ("--split_seed=8", "--new_patients=draw", "--validation_fraction=0")
    kept = split_of(copied, f"--keep_split={tmp_path / 'split.json'}", *further)
    assert all(set(first[name]) <= set(kept[name]) for name in PARTITIONS)
    assert sum(len(kept[name]) for name in PARTITIONS) == 7 and len(kept["test"]) == 2
    with pytest.raises(UserError, match="would have to read masks"):
        split_of(copied, "--stratify=lesion_size", *drawn)


def test_a_case_that_comes_again(source, tmp_path):
    copied = shutil.copytree(source, tmp_path / "source")
    corrected = image_folders.hecktor(copied / "span-3", ["P4"])
    with pytest.raises(UserError, match="case P4 is in delivery 1 and again in delivery 3") as caught:
        split_of(copied)
    assert str(corrected) in caught.value.line and "--repeated_cases=replace" in caught.value.line
    values = config_of(copied, "--repeated_cases=replace")
    layout = deliveries.choose(copied, replace=True)
    (again,) = [case for case in layout.find(copied, ["ct", "pet"]) if case.case_id == "P4"]
    assert again.spans == (1, 3) and again.images["ct"].path.is_relative_to(corrected)
    # Whoever was tested on is tested on, and whoever was left out for an error is looked at anew.
    assert resolve_deliveries.resolve(values).split["test"] == ("P4",)
    former = write_split(tmp_path, {**image_folders.SPLIT, "test": [], "excluded": ["P4"]})
    split = split_of(copied, "--repeated_cases=replace", f"--keep_split={former}")
    assert (split["test"], split["excluded"]) == (("P4",), ())


def test_deliveries_of_several_layouts(source, tmp_path):
    copied = shutil.copytree(source, tmp_path / "source")
    lines = [f"{case},imagesTr/{case}__CT.nii.gz,imagesTr/{case}__PT.nii.gz,{where}" for case, where in OTHERWISE]
    (copied / "span-2" / "cases.csv").write_text("\n".join(["case,ct,pet,partition", *lines]))
    assert deliveries.choose(copied).NAME == "hecktor"  # a table that lies beside a layout's files is none
    (copied / "span-2/imagesTr").rename(copied / "span-2/images")
    text = (copied / "span-2" / "cases.csv").read_text().replace("imagesTr", "images")
    (copied / "span-2" / "cases.csv").write_text(text)
    layout = deliveries.choose(copied)
    assert layout.NAME == "hecktor+csv" and not layout.holds_patient_names(copied)
    assert "delivery 2: CSV manifest: 3 cases" in layout.describe(copied)
    before = resolve_deliveries.resolve(config_of(copied))
    assert before.split["unlabelled"] == ("N1", "N2", "P2") and before.split["excluded"] == ("N3",)
    os.utime(copied / "span-2/images/N1__CT.nii.gz", (2, 2))
    assert resolve_deliveries.resolve(config_of(copied)).fingerprint != before.fingerprint


def test_mistakes(source, tmp_path):
    for flags, message in (
        (("--span=7",), "expected delivery 7, got span-1, span-2"),
        (("--folds=2", "--split_seed=0"), "--folds and deliveries contradict each other"),
        (("--split=a", "--keep_split=b"), "contradict each other"),
        (("--pseudonymize",), "permanent pseudonyms.*--pseudonym_map"),
    ):
        with pytest.raises(UserError, match=message):
            split_of(source, *flags)
    with pytest.raises(UserError, match="expected a folder of deliveries"):
        split_of(source / "span-1")
    with pytest.raises(UserError, match="--span is for a folder of deliveries"):
        convert(source / "span-1", tmp_path / "out", "--span=1")
    (tmp_path / "d/span-01").mkdir(parents=True)
    (tmp_path / "d/span-1").mkdir()
    with pytest.raises(UserError, match="both delivery 1"):
        deliveries.choose(tmp_path / "d")


def test_pseudonyms_stay_from_delivery_to_delivery(source, tmp_path):
    secret = ("--pseudonymize", f"--pseudonym_map={tmp_path / 'secret.json'}")
    first, both = split_of(source, "--span=1", *secret), split_of(source, *secret)
    assert first["test"] == both["test"] and not set(first["test"]) & {"P1", "P2", "P3", "P4"}
    made = convert(source, tmp_path / "out", f"--case_cache={tmp_path / 'cache'}", *secret)
    assert partitions(made) == {name: list(both[name]) for name in PARTITIONS}
    assert {card["case_id"] for card in case_cards.load(made)} == {name for held in both.values() for name in held}


def test_a_refusal_names_the_case_where_its_file_does_not():
    def line(*found):
        with pytest.raises(UserError) as caught:
            findings.refuse(found, "verify.json")
        return caught.value.line

    constant = [Finding.of("constant_image", "'pet' is 3 everywhere", case="A7", file=f) for f in ("x.nii", "A7.nii")]
    assert line(constant[0]) == "x.nii: case A7: 'pet' is 3 everywhere."
    assert line(constant[1]) == "A7.nii: 'pet' is 3 everywhere."
    assert "2 errors in 1 case, the first: 'pet' is 3" in line(*constant)
