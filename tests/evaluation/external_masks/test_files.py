"""Mask files of a folder by case."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.evaluation.external_masks import files
from semicml_tf.labels import PLAIN, LabelDefinition

REGIONS = LabelDefinition({"wt": (1, 2, 4), "et": (4,)})


def folder(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(tmp_path, *names, labels=PLAIN):
    return files.find(folder(tmp_path, *names), ("p1", "p2", "p3"), labels, ("v1",))


def test_each_format_is_found_by_the_name_of_the_case(tmp_path):
    result = found(tmp_path, "p1.NII.GZ", "p2.seg.nrrd", "p3/anything", "dataset.json", "plans.pkl", ".p2.nii.gz")
    assert {case: one.paths[None].name for case, one in result.files.items()} == {
        "p1": "p1.NII.GZ",
        "p2": "p2.seg.nrrd",
        "p3": "anything",
    }
    assert not result.missing and not result.not_scored
    assert files.is_nrrd(result.files["p2"].paths[None]) and files.is_dicom(result.files["p3"].paths[None])


def test_missing_and_foreign_cases_are_named(tmp_path):
    result = found(tmp_path, "p2.nii", "v1.nii.gz", "somebody.nii.gz")
    assert result.missing == ("p1", "p3") and result.not_scored == ("somebody", "v1")


@pytest.mark.parametrize(
    "names", [("p1.nii.gz", "p1.nrrd"), ("p1.nii", "p1/seg.dcm"), ("p1/a.dcm", "p1/b.dcm")], ids=str
)
def test_two_files_for_one_case_are_refused(tmp_path, names):
    with pytest.raises(UserError, match="case p1 has several masks"):
        found(tmp_path, *names)


def test_a_folder_without_any_case_is_refused(tmp_path):
    with pytest.raises(UserError, match="e.g. p1.nii.gz, got masks of other"):
        found(tmp_path, "other.nii.gz")
    with pytest.raises(UserError, match="expected a folder of masks"):
        files.find(tmp_path / "nowhere", ("p1",), PLAIN)


def test_regions_may_have_a_file_each(tmp_path):
    result = found(tmp_path, "p1_wt.nii.gz", "p1_et.nii.gz", "p2.nii.gz", labels=REGIONS)
    assert {one: path.name for one, path in result.files["p1"].paths.items()} == {
        "wt": "p1_wt.nii.gz",
        "et": "p1_et.nii.gz",
    }
    with pytest.raises(UserError, match="case p3 has masks of wt, but none of et"):
        found(tmp_path, "p3_wt.nii.gz", labels=REGIONS)
    with pytest.raises(UserError, match="case p2 has several masks"):
        found(tmp_path, "p3_et.nii.gz", "p2_wt.nii.gz", labels=REGIONS)
