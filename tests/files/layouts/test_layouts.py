"""Which layout a folder has, and what is told of one that has none."""

import json
import os
import pathlib
import time

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, deliveries, diagnose
from semicml_tf.phantom.writers import LAYOUTS as WRITTEN
from tests.support.layout_folders import check_present, touch

PHANTOMS = sorted(WRITTEN)
_NOBODY = 65534
SMALL = ["--cases=3", "--phantom_size_mm=96,96,32", "--phantom_spacing_mm=12,12,16"]
SMALL += ["--labelled=1", "--validation=1", "--test=1", "--empty_fraction=0"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """The input of each layout's phantom, by the phantom's name."""
    root = tmp_path_factory.mktemp("phantoms")
    for name in PHANTOMS:
        commandline.call("semicml_tf.phantom", [f"--output={root / name}", f"--layout={name}", *SMALL])
    return {name: root / name / "manifest.csv" if name == "csv" else root / name for name in PHANTOMS}


def layout_of(phantom):
    return "brats" if phantom == "brats2020" else phantom


@pytest.mark.parametrize("name", PHANTOMS)
def test_each_phantom_has_exactly_one_layout(phantoms, name):
    assert [layout.NAME for layout in catalogue.LAYOUTS.values() if layout.detect(phantoms[name])] == [layout_of(name)]
    assert catalogue.choose("auto", phantoms[name]).NAME == layout_of(name)


@pytest.mark.parametrize("name", PHANTOMS)
def test_cases_of_a_phantom_are_listed_as_written(phantoms, name):
    layout, root = catalogue.choose("auto", phantoms[name]), phantoms[name]
    modalities = ("ct", "pet") if WRITTEN[name].body == "trunk" else ("t1", "t1ce", "t2", "flair")
    cases = layout.find(root, modalities)
    assert [case.case_id for case in cases] == [WRITTEN[name].case_id(index) for index in range(3)]
    assert set(layout.modalities(root)) == set(modalities)
    for case in cases:
        check_present(case, with_label=True)
        volumes = {modality: case.images[modality].read_volume() for modality in modalities}
        assert len({volume.tobytes() for volume, _ in volumes.values()}) == len(modalities)
        label, grid = case.label.read_label()
        assert label.any() and grid.is_close(case.images[modalities[0]].read_grid())
        assert len({case.images[modality].digest() for modality in modalities}) == len(modalities)
    assert not hasattr(layout, "oddities") or not layout.oddities(root, modalities)
    told = layout.describe(root)
    assert "3 cases" in told and "labels 3" in told and all(f"{modality} 3" in told for modality in modalities)


def test_every_writer_of_a_head_keeps_the_images(phantoms):
    heads = [name for name in PHANTOMS if WRITTEN[name].body == "head"]
    for modality in ("t1", "t1ce", "t2", "flair"):
        cases = [catalogue.choose("auto", phantoms[name]).find(phantoms[name], [modality])[0] for name in heads]
        contents = {case.images[modality].read_volume()[0].tobytes() for case in cases}
        assert len(contents) == 1


def test_an_unknown_layout_lists_the_layouts(tmp_path):
    for name, root, message in [
        ("auto", tmp_path, "none of the known layouts: it holds no files.*hecktor.*brats.*csv"),
        ("bmp", tmp_path, "unknown layout 'bmp'.*hecktor.*brats.*csv"),
        ("brats", tmp_path, "expected the layout brats"),
        ("auto", tmp_path / "none", "no such folder"),
    ]:
        with pytest.raises(UserError, match=message):
            catalogue.choose(name, root)


def refusal(root, name="auto"):
    with pytest.raises(UserError) as caught:
        catalogue.choose(name, root)
    assert str(root) in caught.value.line and caught.value.remedy and "\n" not in caught.value.line
    return caught.value.line


def test_the_error_about_an_unknown_folder_describes_it(tmp_path):
    touch(*(tmp_path / f"a b/ü{number}/x.nii.gz" for number in range(3)), tmp_path / "a b/y.txt", tmp_path / ".z.nii")
    touch(tmp_path / "a b/._x.nii.gz")
    assert "it holds 3 .nii.gz and 1 other files in 3 levels, the first NIfTI file is a b/ü0/x.nii.gz" in refusal(
        tmp_path
    )


def test_a_layout_in_an_inner_folder_is_named(tmp_path):
    touch(tmp_path / "TrainingData/BraTS2021_00000/BraTS2021_00000_t2.nii.gz")
    line = refusal(tmp_path)
    assert f"its TrainingData has the layout brats. Pass --input={tmp_path / 'TrainingData'}" in line
    assert "it seems to be one case" in refusal(tmp_path / "TrainingData/BraTS2021_00000")
    line = refusal(tmp_path / "TrainingData", "hecktor")
    assert "expected the layout hecktor" in line and "this is brats. Pass --layout=brats" in line
    (tmp_path / "other").mkdir()
    (tmp_path / "other/my cases.csv").write_text("case,ct\n")
    assert f"Pass --input={tmp_path / 'other/my cases.csv'}" in refusal(tmp_path / "other")
    assert "it is a file" in refusal(tmp_path / "TrainingData/BraTS2021_00000/BraTS2021_00000_t2.nii.gz")


def test_two_layouts_in_one_folder_require_a_choice(tmp_path):
    touch(tmp_path / "imagesTr/A__CT.nii.gz", tmp_path / "B/B_t2.nii.gz")
    assert "expected one layout, got hecktor and brats" in refusal(tmp_path)
    assert catalogue.choose("brats", tmp_path).NAME == "brats"


def test_circular_links_are_followed_once(tmp_path):
    touch(tmp_path / "a/b/x.nii.gz")
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "a/nowhere").symlink_to("gone.nii.gz")
    assert "1 .nii.gz and 2 other files in 3 levels" in refusal(tmp_path)
    assert len(list(diagnose.walk(tmp_path))) == 3


def test_a_folder_without_read_permission(tmp_path, monkeypatch):
    is_root = os.geteuid() == 0
    # By a relative path: parents of tmp_path are closed to every other user.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    (folder := tmp_path / "imagesTr").mkdir(mode=0)
    if is_root:  # root may read everything
        os.seteuid(_NOBODY)
    try:
        assert "cannot be read" in refusal(pathlib.Path("."))
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)


# Of each layout: files of one case that is found, and files that no case claims.
STRAY = {
    "hecktor": (
        ["imagesTr/A__CT.nii.gz", "imagesTr/A__PT.NII.GZ", "labelsTr/A.nii.gz"],
        ["imagesTr/B__ct.nii.gz", "labelsTr/B.nii.gz", "imagesTr/C__CT.hdr", "imagesTr/C__CT.img"],
    ),
    "hecktor2021": (["A_ct.nii.gz", "A_pt.nii.gz", "A_gtvt.nii.gz"], ["B_gtvt.nii.gz", "B_CT.nii.gz"]),
    "brats": (["A/A_t1.nii.gz", "A/A_t2.Nii.gz", "A/A_seg.nii.gz"], ["A/A_seg2.nii.gz", "B/B_T2.nii.gz", "C.nii.gz"]),
    "brats2023": (["A/A-t1n.nii.gz", "A/A-seg.nii.gz"], ["A/A-t1.nii.gz", "B/B-t2w.nrrd"]),
    "nnunet": (
        ["imagesTr/A_0000.nii.gz", "imagesTr/A_0001.NII", "labelsTr/A.nii.gz"],
        ["imagesTr/B_000.nii.gz", "labelsTr/B.nii.gz", "imagesTr/A_0002.nii.gz"],
    ),
    "decathlon": (["imagesTr/A.nii.gz", "labelsTr/A.nii.gz"], ["labelsTr/B.nii.gz", "imagesTr/B.mha"]),
    "bids": (
        ["sub-A/anat/sub-A_T1w.nii.gz", "derivatives/d/sub-A/anat/sub-A_dseg.nii.gz"],
        ["sub-A/anat/A_T2w.nii.gz", "derivatives/d/sub-B/anat/sub-B_dseg.nii.gz"],
    ),
}


@pytest.mark.parametrize("name", STRAY)
def test_files_that_no_case_claims_are_reported(tmp_path, name):
    claimed, stray = STRAY[name]
    touch(*(tmp_path / file for file in (*claimed, *stray)))
    body = {"channel_names" if name == "nnunet" else "modality": {"0": "T1", "1": "T2"}, "numTraining": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(body))
    layout = catalogue.choose("auto", tmp_path)
    found = layout.find(tmp_path, layout.modalities(tmp_path))
    assert [case.case_id.removeprefix("sub-") for case in found] == ["A"] and found[0].has_label()
    odd = layout.oddities(tmp_path, layout.modalities(tmp_path))
    assert sorted(str(one.path.relative_to(tmp_path)) for one in odd) == sorted(stray)
    assert all(one.code == "unclaimed_file" and layout.DESCRIPTION in one.remedy for one in odd)
    # Also within deliveries.
    (tmp_path / "deliveries").mkdir()
    (tmp_path / "deliveries/span-1").symlink_to(tmp_path)
    of_all = deliveries.choose(tmp_path / "deliveries", name)
    assert len(of_all.oddities(tmp_path / "deliveries", ())) == len(stray)


def test_each_layout_is_listed_under_its_name():
    assert [layout.NAME for layout in catalogue.LAYOUTS.values()] == list(catalogue.LAYOUTS)
    assert all(layout.DESCRIPTION for layout in catalogue.LAYOUTS.values())


@pytest.mark.parametrize("name,case", [("nnunet", "A_0000"), ("decathlon", "A")])
def test_the_number_of_cases_is_compared_with_the_description(tmp_path, name, case):
    touch(tmp_path / f"imagesTr/{case}.nii.gz", tmp_path / "labelsTr/A.nii.gz")
    layout = catalogue.LAYOUTS[name]
    for body, expected in [
        ({"numTraining": 3, "numTest": 2}, ["expected 3 cases in imagesTr as in 'numTraining', got 1"]),
        ({"numTraining": 1, "numTest": 2}, []),
        ({"numTraining": "3"}, []),
    ]:
        (tmp_path / "dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, **body}))
        assert [one.problem for one in layout.oddities(tmp_path, ["ct"])] == expected


@pytest.mark.parametrize("name", ["hecktor", "hecktor2021", "brats", "brats2023", "nnunet", "decathlon", "bids"])
def test_listing_a_thousand_cases_takes_linear_time(tmp_path, name):
    names = [f"C{number:04d}x" for number in range(1000)]
    files = {
        "hecktor": ["imagesTr/{0}__CT.nii.gz", "imagesTr/{0}__PT.nii.gz", "labelsTr/{0}.nii.gz"],
        "hecktor2021": ["{0}_ct.nii.gz", "{0}_pt.nii.gz", "{0}_gtvt.nii.gz"],
        "brats": ["{0}/{0}_t1.nii.gz", "{0}/{0}_t2.nii.gz", "{0}/{0}_seg.nii.gz"],
        "brats2023": ["{0}/{0}-t1n.nii.gz", "{0}/{0}-t2w.nii.gz", "{0}/{0}-seg.nii.gz"],
        "nnunet": ["imagesTr/{0}_0000.nii.gz", "imagesTr/{0}_0001.nii.gz", "labelsTr/{0}.nii.gz"],
        "decathlon": ["imagesTr/{0}.nii.gz", "labelsTr/{0}.nii.gz"],
        "bids": ["sub-{0}/anat/sub-{0}_T1w.nii.gz", "derivatives/d/sub-{0}/anat/sub-{0}_dseg.nii.gz"],
    }[name]
    for folder in {(tmp_path / file.format(case)).parent for case in names for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for case in names:
        for file in files:
            os.close(os.open(tmp_path / file.format(case), os.O_CREAT))
    key = "channel_names" if name == "nnunet" else "modality"
    (tmp_path / "dataset.json").write_text(f'{{"{key}": {{"0": "T1", "1": "T2"}}}}')
    start = time.process_time()
    layout = catalogue.choose("auto", tmp_path)
    cases = layout.find(tmp_path, layout.modalities(tmp_path))
    assert layout.NAME == name and len(cases) == 1000 and all(case.has_label() for case in cases)
    # Processor time, half a second as a rule; work that grows with the square of the cases takes minutes.
    assert time.process_time() - start < 60
