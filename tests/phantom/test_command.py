import csv
import hashlib
import json
import re
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue as chosen
from semicml_tf.phantom import split
from semicml_tf.phantom.case import generate
from semicml_tf.phantom.config import PhantomConfig
from semicml_tf.phantom.writers import LAYOUTS

SMALL = ["--phantom_size_mm=96,96,32", "--phantom_spacing_mm=6,6,8", "--labelled=1", "--validation=1", "--test=1"]

LABEL_WORDS = ("seg", "gtvt", "label", "labelsTr", "dseg")


def _make(folder, *arguments):
    commandline.call("semicml_tf.phantom", [f"--output={folder}", *SMALL, *arguments])
    return folder


def _hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"dicom"}))
def test_the_same_flags_write_the_same_bytes_and_more_cases_change_none(tmp_path, layout):
    first = _hashes(_make(tmp_path / "a", f"--layout={layout}", "--cases=4"))
    assert first == _hashes(_make(tmp_path / "b", f"--layout={layout}", "--cases=4"))
    more = _hashes(_make(tmp_path / "c", f"--layout={layout}", "--cases=6"))
    volumes = [name for name in first if name.endswith((".nii.gz", ".nii"))]
    files = {"trunk": 3, "head": 5}[LAYOUTS[layout].body] if layout != "decathlon" else 2
    assert len(volumes) == 4 * files
    assert all(more[name] == first[name] for name in volumes)
    other = _hashes(_make(tmp_path / "d", f"--layout={layout}", "--cases=4", "--seed=1"))
    assert all(
        other[name] != first[name] for name in volumes if not set(LABEL_WORDS) & set(re.split(r"[^A-Za-z]", name))
    )


def test_a_later_delivery_has_the_patients_that_a_longer_phantom_would_have(tmp_path):
    later = _hashes(_make(tmp_path / "later", "--first_case=3", "--cases=3"))
    longer = _hashes(_make(tmp_path / "longer", "--cases=6"))
    volumes = [name for name in later if name.endswith(".nii.gz")]
    assert {re.search(r"PHANTOM_\d+", name)[0] for name in volumes} == {f"PHANTOM_{number:03d}" for number in (3, 4, 5)}
    assert all(later[name] == longer[name] for name in volumes)


def test_hecktor_files_have_the_case(tmp_path):
    folder = _make(tmp_path / "a", "--cases=3", "--oblique")
    case = generate(0, 1, oblique=True, size_mm=(96, 96, 32), spacing_mm=(6, 6, 8))
    ct = nibabel.load(folder / "imagesTr" / "PHANTOM_001__CT.nii.gz")
    pet = nibabel.load(folder / "imagesTr" / "PHANTOM_001__PT.nii.gz")
    label = nibabel.load(folder / "labelsTr" / "PHANTOM_001.nii.gz")
    assert (ct.get_data_dtype(), pet.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.int16, np.uint8)
    np.testing.assert_array_equal(np.asanyarray(ct.dataobj), case.images["ct"][0])
    np.testing.assert_allclose(pet.get_fdata(), case.images["pet"][0], atol=1 / 1024)
    np.testing.assert_array_equal(np.asanyarray(label.dataobj), case.label)
    # NIfTI keeps affines as float32.
    np.testing.assert_allclose(ct.affine, case.label_grid.affine, atol=1e-4)
    np.testing.assert_allclose(label.affine, ct.affine, atol=0)
    np.testing.assert_allclose(pet.affine, case.images["pet"][1].affine, atol=1e-4)


def test_brats_files_lie_on_one_grid(tmp_path):
    folder = _make(tmp_path / "a", "--cases=3", "--layout=brats", "--empty_fraction=0")
    values = set()
    for index in range(3):
        name = f"PHANTOM_{index:03d}"
        images = {m: nibabel.load(folder / name / f"{name}_{m}.nii.gz") for m in ("t1", "t1ce", "t2", "flair", "seg")}
        assert all(np.array_equal(image.affine, images["seg"].affine) for image in images.values())
        assert all(image.shape == (16, 16, 4) for image in images.values())
        values |= set(np.unique(np.asanyarray(images["seg"].dataobj)))
    assert values <= {0, 1, 2, 4} and len(values) > 1


@pytest.mark.parametrize(
    "layout,modalities,values",
    [
        ("brats2020", ["t1", "t1ce", "t2", "flair"], [0, 1, 2, 4]),
        ("brats2023", ["t1", "t1ce", "t2", "flair"], [0, 1, 2, 3]),
        ("nnunet", ["t1", "t1ce", "t2", "flair"], [0, 1, 2, 3]),
        ("hecktor2021", ["ct", "pet"], [0, 1]),
    ],
)
def test_phantom_json_has_names_and_label_values_of_the_layout(tmp_path, layout, modalities, values):
    folder = _make(tmp_path / "a", "--cases=3", f"--layout={layout}", "--empty_fraction=0")
    made = json.loads((folder / "phantom.json").read_text())
    assert (made["modalities"], made["label_values"]) == (modalities, values)
    names = [entry["case"] for entry in made["cases"]]
    assert names == [LAYOUTS[layout].case_id(index) for index in range(3)]
    assert sorted(sum(json.loads((folder / "split.json").read_text()).values(), [])) == names
    layout = chosen.choose("auto", folder)
    found = {value for case in layout.find(folder, modalities) for value in np.unique(case.label.read_label()[0])}
    assert found <= set(values) and len(found) == len(values)


def test_label_values_without_a_gap_are_those_of_their_makers(tmp_path):
    # BraTS: 1 core, 2 edema, 4 enhancing; its 2023 names: 3 enhancing; Decathlon: 1 edema, 2 core, 3 enhancing.
    counts = {}
    for layout in ("brats", "brats2023", "decathlon"):
        folder = _make(tmp_path / layout, "--cases=3", f"--layout={layout}", "--empty_fraction=0")
        (case, *_) = chosen.choose("auto", folder).find(folder, ["t2"])
        counts[layout] = np.bincount(case.label.read_label()[0].ravel(), minlength=5).tolist()
    background, core, edema, _, enhancing = counts["brats"]
    assert counts["brats2023"] == [background, core, edema, enhancing, 0]
    assert counts["decathlon"] == [background, edema, core, enhancing, 0]


def test_csv_manifest_names_existing_files(tmp_path):
    folder = _make(tmp_path / "a", "--cases=5", "--layout=csv", "--phantom_mr")
    with open(folder / "manifest.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["case", "ct", "pet", "mr", "label", "partition"]
    assert all((folder / row[column]).is_file() for row in rows for column in ("ct", "pet", "mr", "label"))
    drawn = json.loads((folder / "split.json").read_text())
    assert {row["case"]: row["partition"] for row in rows} == {c: name for name, cases in drawn.items() for c in cases}


def test_split_has_every_case_once(tmp_path):
    folder = _make(tmp_path / "a", "--cases=8")
    drawn = json.loads((folder / "split.json").read_text())
    assert {name: len(cases) for name, cases in drawn.items()} == {
        "labelled": 1,
        "unlabelled": 5,
        "validation": 1,
        "test": 1,
    }
    assert sorted(sum(drawn.values(), [])) == [f"PHANTOM_{index:03d}" for index in range(8)]
    names = [str(index) for index in range(30)]
    sizes = {"labelled": 10, "validation": 5, "test": 5}
    assert split.draw(names, 0, **sizes) == split.draw(names, 0, **sizes) != split.draw(names, 1, **sizes)


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, (6, 6, 12)),
        ({"cases": 24}, (6, 6, 12)),
        ({"cases": 8}, (1, 1, 2)),
        ({"cases": 3}, (1, 1, 1)),
        ({"cases": 8, "labelled": 0, "test": 5}, (0, 1, 5)),
        ({"cases": 100, "labelled": 80}, (80, 6, 12)),
    ],
)
def test_default_sizes_of_partitions_fit_few_cases(options, sizes):
    assert tuple(PhantomConfig(output="x", **options).partition_sizes().values()) == sizes


def test_phantom_json_says_how_it_was_made(tmp_path):
    folder = _make(tmp_path / "a", "--cases=4", "--empty_fraction=0.5", "--seed=3")
    made = json.loads((folder / "phantom.json").read_text())
    assert (made["seed"], made["layout"], made["modalities"]) == (3, "hecktor", ["ct", "pet"])
    for entry in made["cases"]:
        label = nibabel.load(folder / "labelsTr" / f"{entry['case']}.nii.gz")
        voxels = np.count_nonzero(np.asanyarray(label.dataobj))
        assert entry["lesion_ml"] == pytest.approx(voxels * 6 * 6 * 8 / 1000, abs=1e-3)


@pytest.mark.parametrize("more", [[], ["--oblique"], ["--layout=brats"]])
def test_annotated_slices_of_training_patients_spread_over_the_lesion(tmp_path, more):
    how = ["--cases=4", "--phantom_size_mm=96,96,96", "--empty_fraction=0.25", *more]
    full, sparse = _make(tmp_path / "full", *how), _make(tmp_path / "sparse", *how, "--annotated_slices=4")
    partitions = json.loads((sparse / "split.json").read_text())
    made = json.loads((sparse / "phantom.json").read_text())
    assert made.pop("annotated_slices") == 4 and made["label_values"].pop() == 255
    assert made == json.loads((full / "phantom.json").read_text())
    complete = {*partitions["validation"], *partitions["test"]}
    labels = 0
    for path in full.rglob("*.nii.gz"):
        other = sparse / path.relative_to(full)
        case = re.search(r"PHANTOM_\d+", path.name)[0]
        if case in complete or not set(LABEL_WORDS) & set(re.split(r"[^A-Za-z]", str(path.relative_to(full)))):
            assert path.read_bytes() == other.read_bytes()
            continue
        labels += 1
        image = nibabel.load(path)
        axis = np.argmax(np.abs(image.affine[2, :3]))
        truth, label = (np.moveaxis(np.asanyarray(nibabel.load(one).dataobj), axis, 0) for one in (path, other))
        annotated = np.flatnonzero((label != 255).any(axis=(1, 2)))
        assert len(annotated) == 4 and np.array_equal(label[annotated], truth[annotated])
        assert np.all(np.delete(label, annotated, 0) == 255)
        assert np.ptp(np.diff(annotated)) <= 1
        lesion = np.flatnonzero(truth.any(axis=(1, 2)))
        if len(lesion) >= 4:
            assert np.isin(annotated, lesion).sum() >= 2
            assert annotated[0] >= lesion[0] - len(lesion) and annotated[-1] <= lesion[-1] + len(lesion)
    assert labels == 2


def test_annotated_slices_are_at_most_those_of_the_volume(tmp_path):
    folder = _make(tmp_path / "a", "--cases=3", "--annotated_slices=99")
    labels = sorted(folder.glob("labelsTr/*"))
    assert len(labels) == 3 and all(np.asanyarray(nibabel.load(path).dataobj).max() <= 1 for path in labels)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cases=3", "--layout=dicom", "--annotated_slices=2"], "label maps for --annotated_slices"),
        (["--cases=2"], "at least 3 cases"),
        (["--cases=3", "--phantom_size_mm=1,2"], "to be 3 numbers above 0"),
        (["--cases=3", "--phantom_spacing_mm=3,3,x"], "to be 3 numbers above 0"),
        (["--cases=3", "--layout=bmp"], "layout"),
        (["--cases=3", "--layout=hecktor2021", "--phantom_mr"], "among hecktor, csv, dicom for --phantom_mr"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        _make(tmp_path / "a", *arguments)
    assert not list(tmp_path.iterdir())


def test_overwrite_replaces_a_phantom_and_nothing_else(tmp_path):
    folder = _make(tmp_path / "a", "--cases=3")
    with pytest.raises(UserError, match="not empty"):
        _make(folder, "--cases=3")
    _make(folder, "--cases=4", "--overwrite")
    assert (folder / "labelsTr" / "PHANTOM_003.nii.gz").is_file()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="got other files"):
        _make(mine, "--cases=3", "--overwrite")
    assert (mine / "thesis.txt").read_text() == "x"


def test_a_stopped_process_removes_partial_output(tmp_path):
    command = [
        sys.executable,
        "-m",
        "semicml_tf.phantom",
        f"--output={tmp_path / 'out'}",
        "--cases=500",
        "--labelled=5",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    # The lock is there before anything is half made; a signal at that very moment leaves it.
    while all(path.suffix == ".lock" for path in tmp_path.iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    # A bar may have been begun.
    assert process.returncode == 143 and "semicml_tf.phantom: terminated. Nothing was written" in errors
    assert not list(tmp_path.iterdir())


def test_a_part_of_the_unlabelled_patients_has_one_modality(tmp_path, capsys):
    options = ("--cases=8", "--layout=csv", "--incomplete_fraction=0.4")
    folder, whole = _make(tmp_path / "a", *options), _make(tmp_path / "b", "--cases=8", "--layout=csv")
    lone = {e["case"] for e in json.loads((folder / "phantom.json").read_text())["cases"] if "modalities" in e}
    assert len(lone) == 2 and lone <= set(json.loads((folder / "split.json").read_text())["unlabelled"])
    assert json.loads((folder / "phantom.json").read_text())["modalities"] == ["ct", "pet"]
    with open(folder / "manifest.csv", newline="") as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    assert {name for name, row in rows.items() if not row["pet"]} == lone
    # All other files are those of the whole phantom.
    for path in (whole / "volumes").iterdir():
        other = folder / "volumes" / path.name
        if path.name in {f"{name}_pet.nii.gz" for name in lone}:
            assert not other.exists()
        else:
            assert other.read_bytes() == path.read_bytes()
