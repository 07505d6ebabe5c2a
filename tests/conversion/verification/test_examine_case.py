"""`verification.examine_case`: what it reports of sound and of bad cases, all at once, and what it never opens."""

import dataclasses
import gzip
import json
import os
import pathlib
import sys

import numpy as np
import pytest

from semicml_tf.conversion.build_case import build
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.examine_case import examine
from semicml_tf.conversion.verification.findings import CODES, CaseReport
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue
from semicml_tf.files.source import NiftiFile
from semicml_tf.preprocessing import plausibility
from semicml_tf.preprocessing.normalisation import Normalisation
from tests.support import image_folders, verification_cases

REPOSITORY = pathlib.Path(__file__).parents[3]
AFFINE, SHAPE, GRID = verification_cases.AFFINE, verification_cases.SHAPE, verification_cases.GRID
SETTINGS = verification_cases.settings()


def codes(report):
    for finding in report.findings:
        assert finding.case and finding.problem and finding.remedy and finding.severity == CODES[finding.code][0]
    return sorted(finding.code for finding in report.findings)


def moved(*, by=(0, 0, 0), scale=(1, 1, 1), turn=0.0, shear=0.0):
    affine = AFFINE.copy()
    affine[:3, :3] = affine[:3, :3] * np.array(scale)
    affine[0, 1] += shear * abs(affine[1, 1])
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] = (
        AFFINE[:3, :3] @ (np.array(SHAPE) - 1) / 2 + AFFINE[:3, 3] - affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    ) + by
    return affine


def test_a_sound_case_gets_facts_and_no_findings(tmp_path):
    case = verification_cases.write(tmp_path)
    report = examine(case, SETTINGS, with_label=True)
    assert report.findings == ()
    assert set(report.images) == {"ct", "pet"} and set(report.digests) == {"ct", "pet", "label"}
    assert report.digests["ct"] == case.images["ct"].digest()
    assert report.label["voxels"] == int(verification_cases.label().sum())
    assert report.images["ct"]["min"] == verification_cases.ct().min()
    assert CaseReport.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_the_hash_of_the_voxels_is_that_of_the_image_not_of_the_file(tmp_path):
    case = verification_cases.write(tmp_path)
    plain = NiftiFile(image_folders.write(tmp_path / "plain.nii", verification_cases.ct(), AFFINE))
    other = dataclasses.replace(case, images={**case.images, "ct": plain})
    one, two = (examine(c, SETTINGS, with_label=False) for c in (case, other))
    assert one.digests["ct"] != two.digests["ct"]
    assert one.images["ct"]["voxels_sha256"] == two.images["ct"]["voxels_sha256"]
    assert one.images["ct"]["voxels_sha256"] != one.images["pet"]["voxels_sha256"]


@dataclasses.dataclass(frozen=True)
class Explosive:
    """A source that must not be touched."""

    path: pathlib.Path

    def _explode(self):
        raise AssertionError(f"{self.path} was opened")

    digest = read_volume = read_label = read_grid = missing = _explode


def test_the_mask_of_an_unlabelled_patient_is_never_opened(tmp_path):
    case = verification_cases.write(tmp_path)
    explosive = Explosive(tmp_path / "secret.nii.gz")
    report = examine(dataclasses.replace(case, label=explosive, label_on=explosive), SETTINGS, with_label=False)
    assert report.findings == () and report.label is None and set(report.digests) == {"ct", "pet"}
    # Any exception is a finding of its case; type and place stand in the finding, the traceback in the log.
    log = tmp_path / "debug.log"
    report = examine(dataclasses.replace(case, label=explosive), SETTINGS, with_label=True, debug_log=log)
    (finding,) = [one for one in report.findings if one.code == "unexpected"]
    assert finding.severity == "error" and "AssertionError at test_examine_case.py:" in finding.problem
    assert "was opened" in finding.problem and str(log) in finding.remedy
    assert "Traceback" in log.read_text() and log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("error", [KeyError(7), MemoryError(), RecursionError("deep"), ValueError("two\nlines")])
def test_an_exception_of_one_step_leaves_the_findings_of_the_others(tmp_path, monkeypatch, error):
    case = verification_cases.write(tmp_path, label=2 * verification_cases.label())

    def fails(source):
        raise error

    monkeypatch.setattr(NiftiFile, "read_volume", fails)
    report = examine(case, SETTINGS, with_label=True, debug_log=tmp_path / "debug.log")
    assert codes(report) == ["label_values", "unexpected", "unexpected"]
    assert all("\n" not in finding.problem and "P1" in finding.problem for finding in report.findings[:2])


def test_an_inconsistent_header_is_a_warning(tmp_path):
    case = verification_cases.write(tmp_path)
    for what in ("ct", "label"):
        path = case.images["ct"].path if what == "ct" else case.label.path
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[72:74] = (64).to_bytes(2, "little")  # bitpix
        path.write_bytes(gzip.compress(content, mtime=0))
    report = examine(case, SETTINGS, with_label=True)
    assert codes(report) == ["header_contradicts"] * 2 and "bitpix is 64" in report.findings[0].problem


def test_a_label_in_another_order_of_axes_is_accepted(tmp_path):
    order, flip = (2, 0, 1), (slice(None, None, -1), slice(None), slice(None))
    array = verification_cases.label()
    # Index (i, j, k) of the stored label is voxel (j, k, last - i) of the image.
    stored = np.transpose(array, order)[flip]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = matrix[0, 1] = matrix[1, 2] = 1
    matrix[2, 0], matrix[2, 3] = -1, array.shape[2] - 1
    case = verification_cases.write(tmp_path, label=(stored, AFFINE @ matrix))
    as_drawn = verification_cases.write(tmp_path / "other")
    report, usual = (examine(one, SETTINGS, with_label=True) for one in (case, as_drawn))
    assert report.findings == () and report.label["voxels"] == usual.label["voxels"]
    record, expected = (build(one, SETTINGS, with_label=True) for one in (case, as_drawn))
    np.testing.assert_array_equal(record.label, expected.label)
    # A label of the same shape that lies elsewhere is still refused.
    case = verification_cases.write(tmp_path / "moved", label=(stored, moved(by=(4, 0, 0)) @ matrix))
    assert "label_elsewhere" in codes(examine(case, SETTINGS, with_label=True))


def test_all_problems_are_reported_in_one_pass(tmp_path):
    case = verification_cases.write(tmp_path, label=(2 * verification_cases.label(), moved(by=(4, 0, 0))))
    case.images["ct"].path.write_bytes(case.images["ct"].path.read_bytes()[:300])
    report = examine(case, SETTINGS, with_label=True)
    assert codes(report) == [
        "label_elsewhere", "label_values", "unreadable_image",
    ]  # fmt: skip
    assert set(report.images) == {"pet"} and report.label is None
    case.images["ct"].path.unlink()
    case.images["pet"].path.unlink()
    assert codes(examine(case, SETTINGS, with_label=True)) == [
        "label_values", "missing_file", "missing_file",
    ]  # fmt: skip


def nan(array):
    array = array.astype(np.float32)
    array[1, 1, 1] = np.nan
    return array


CT, PET, LABEL = verification_cases.ct(), verification_cases.pet(), verification_cases.label()
LABEL_AT_BORDER = np.zeros_like(LABEL)
LABEL_AT_BORDER[8:16, 8:16, 9:] = 1
SPECK = np.zeros_like(LABEL)
SPECK[12, 12, 6] = 1

# name: what is written instead, the code that is found
BAD = {
    "nan": ({"pet": nan(PET)}, "not_finite"),
    "4-D": ({"pet": np.zeros((4, 4, 4, 2), np.int16)}, "unreadable_image"),
    "constant": ({"pet": 0 * PET}, "constant_image"),
    "far apart": ({"pet": (PET, moved(by=(60, 0, 0)))}, "overlap_too_small"),
    "metres": ({"pet": (PET, moved(scale=[1e-3] * 3))}, "spacing_impossible"),
    "label elsewhere": ({"label": (LABEL, moved(by=(4, 0, 0)))}, "label_elsewhere"),
    "label of another shape": ({"label": LABEL[:-1]}, "label_elsewhere"),
    "label values": ({"label": LABEL + SPECK + SPECK}, "label_values"),
    "empty label": ({"label": 0 * LABEL}, "empty_label"),
    "label of fractions": ({"label": LABEL * np.float32(0.5)}, "unreadable_label"),
    "Bq/ml": ({"pet": PET * 4000}, "suv_no_suv"),
    "kBq/ml of a small patient": ({"pet": PET * 40}, "suv_no_suv"),
    "MBq/ml": ({"pet": PET * np.float32(0.004)}, "suv_too_low"),
    "scaled to 0..1": ({"pet": PET / PET.max()}, "suv_too_low"),
    "a hot voxel alone": ({"pet": np.where(PET == PET.max(), 3, PET / 70).astype(np.float32)}, "suv_too_low"),
    "CT in the place of PET": ({"pet": CT}, "suv_like_ct"),
    "PET in the place of CT": ({"ct": PET}, "ct_no_hu"),
    "all below the window": ({"ct": np.where(CT > -500, -300, CT).astype(np.int16)}, "constant_input"),
    "too large for a scan": ({"pet": (PET, moved(scale=(45, 45, 45)))}, "spacing_impossible"),
    "an inverted label": ({"label": 1 - LABEL}, "whole_label"),
}
ODD = {
    "a slice less": ({"pet": (PET[..., :-1], AFFINE)}, "extent_differs"),
    "half a slice off": ({"pet": (PET, moved(by=(0, 0, 2)))}, "slices_offset"),
    "turned": ({"pet": (PET, moved(turn=25, scale=(1.5, 1.5, 1)))}, "orientation_differs"),
    "sheared": ({"ct": (CT, moved(shear=0.2)), "label": (LABEL, moved(shear=0.2))}, "sheared"),
    "no air": ({"ct": np.maximum(CT, -150)}, "ct_without_air"),
    "padding": ({"ct": np.where(CT < -1015, -3024, CT)}, "ct_padding"),
    "16 bits": ({"ct": np.where(CT == CT.max(), 32000, CT)}, "ct_too_high"),
    "a hot bladder": ({"pet": np.where(PET == PET.max(), 250, PET).astype(np.float32)}, "suv_too_high"),
    "negative": ({"pet": PET - 1}, "suv_negative"),
    "kBq/ml": ({"pet": PET * 4}, "suv_high_everywhere"),
    "a speck": ({"label": SPECK}, "tiny_label"),
    "half of the volume": ({"label": (CT > 0).astype(np.uint8) | (np.indices(SHAPE)[0] < 8)}, "large_label"),
}


@pytest.mark.parametrize("kind", BAD)
def test_errors(tmp_path, kind):
    arrays, code = BAD[kind]
    report = examine(verification_cases.write(tmp_path, **arrays), SETTINGS, with_label=True)
    assert code in codes(report)
    (finding,) = (finding for finding in report.findings if finding.code == code)
    assert finding.severity == "error" and finding.file.endswith(f"P1_{next(iter(arrays))}.nii.gz")
    assert (report.label is None) == (next(iter(arrays)) == "label" and code != "whole_label")
    if code in plausibility.ACCEPTABLE:  # a user who means it can say so
        assert f"--accept={code}" in finding.remedy
        settings = dataclasses.replace(SETTINGS, accepted=plausibility.ACCEPTABLE)
        accepting = examine(verification_cases.write(tmp_path, **arrays), settings, with_label=True)
        (accepted,) = {one.severity for one in accepting.findings if one.code in (code, "large_label")}
        assert accepted == "warning"


@pytest.mark.parametrize("kind", ODD)
def test_warnings(tmp_path, kind):
    arrays, code = ODD[kind]
    case = verification_cases.write(tmp_path, **arrays)
    report = examine(case, SETTINGS, with_label=True)
    assert codes(report) == [code] or kind in ("turned", "sheared", "a slice less") and code in codes(report)
    assert all(finding.severity == "warning" for finding in report.findings)
    build(case, SETTINGS, with_label=True)  # what is odd can be used


# Verification alone looks at these; the rest is refused where a case is built, too.
BUILDING_ACCEPTS = plausibility.ACCEPTABLE


@pytest.mark.parametrize("kind", [kind for kind in BAD if BAD[kind][1] not in BUILDING_ACCEPTS])
def test_what_building_refuses_is_an_error_and_the_message_is_the_same(tmp_path, kind):
    arrays, _ = BAD[kind]
    case = verification_cases.write(tmp_path, **arrays)
    with pytest.raises(UserError) as caught:
        build(case, SETTINGS, with_label=True)
    report = examine(case, SETTINGS, with_label=True)
    assert caught.value.problem in [finding.problem for finding in report.findings if finding.severity == "error"]


def test_missing_files(tmp_path):
    case = verification_cases.write(tmp_path)
    for source in (case.images["pet"], case.label):
        source.path.unlink()
    report = examine(case, SETTINGS, with_label=True)
    assert codes(report) == ["missing_file", "missing_file"] and set(report.images) == {"ct"}
    assert [pathlib.Path(finding.file).name for finding in report.findings] == ["P1_pet.nii.gz", "P1_label.nii.gz"]
    assert codes(examine(dataclasses.replace(case, label=None), SETTINGS, with_label=True)) == ["missing_file"] * 2


def test_a_modality_may_be_missing_where_that_is_allowed(tmp_path):
    case = verification_cases.write(tmp_path)
    without_pet = dataclasses.replace(case, images={"ct": case.images["ct"]})
    assert codes(examine(without_pet, SETTINGS, with_label=True)) == ["missing_file"]
    report = examine(without_pet, SETTINGS, with_label=True, missing_allowed=True)
    assert codes(report) == ["missing_modality"] and set(report.label["images"]) == {"ct"}
    # The label was drawn on CT, which is missing, too: its own grid stands, if it shows what PET shows.
    case.images["ct"].path.unlink()
    drawn_on_ct = dataclasses.replace(case, label_on=case.images["ct"])
    report = examine(drawn_on_ct, SETTINGS, with_label=True, missing_allowed=True)
    assert codes(report) == ["missing_modality"] and report.label["voxels"] > 0
    assert codes(examine(drawn_on_ct, SETTINGS, with_label=True)) == ["missing_file"]
    image_folders.write(case.label.path, LABEL, moved(by=(60, 0, 0)))
    report = examine(drawn_on_ct, SETTINGS, with_label=True, missing_allowed=True)
    assert codes(report) == ["label_elsewhere", "missing_modality"]
    case.images["pet"].path.unlink()
    assert "missing_file" in codes(examine(case, SETTINGS, with_label=False, missing_allowed=True))


@dataclasses.dataclass(frozen=True)
class Doubtful(NiftiFile):
    """A label that is read, with warnings."""

    def read_label_with_warnings(self):
        named = UserError("2 contours are not used", path=self.path, remedy="Look", code="label_contours")
        return *self.read_label(), (named, UserError("odd", path=self.path, remedy="Look", code="label_volume_changed"))


def test_warnings_of_a_label_are_findings(tmp_path):
    case = verification_cases.write(tmp_path)
    report = examine(dataclasses.replace(case, label=Doubtful(case.label.path)), SETTINGS, with_label=True)
    assert codes(report) == ["label_contours", "label_volume_changed"] and report.label["voxels"]
    assert {finding.file for finding in report.findings} == {str(case.label.path)}


def test_empty_labels_on_request_are_no_finding(tmp_path):
    case = verification_cases.write(tmp_path, label=0 * LABEL)
    report = examine(case, verification_cases.settings(allow_empty_labels=True), with_label=True)
    assert codes(report) == [] and report.label["voxels"] == 0


def test_a_label_at_the_border_is_no_finding_unless_an_image_ends_before_it(tmp_path):
    assert codes(examine(verification_cases.write(tmp_path, label=LABEL_AT_BORDER), SETTINGS, with_label=True)) == []
    case = verification_cases.write(tmp_path, label=LABEL_AT_BORDER, pet=PET[..., :-1])
    report = examine(case, SETTINGS, with_label=True)
    assert codes(report) == ["extent_differs", "label_outside_image"]
    assert "33% of the foreground" in report.findings[1].problem
    assert "4 mm towards the head" in report.findings[0].problem


def test_boxes_that_differ_by_cutting_to_whole_voxels_are_no_finding(tmp_path):
    coarse = np.diag([-5.5, -5.5, 4, 1])
    coarse[:3, 3] = AFFINE[:3, :3] @ (np.array(SHAPE) - 1) / 2 + AFFINE[:3, 3] - coarse[:3, :3] @ [8, 8, 5.5]
    grid = verification_cases.Grid((17, 17, 12), coarse)  # 93.5 mm beside 96
    case = verification_cases.write(tmp_path, pet=(verification_cases.pet(grid), coarse))
    assert codes(examine(case, SETTINGS, with_label=True)) == []


def test_orientation_of_the_axes_is_no_finding(tmp_path):
    turned = np.transpose(PET, (2, 0, 1))[::-1]
    affine = AFFINE @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, SHAPE[2] - 1], [0, 0, 0, 1.0]])
    assert codes(examine(verification_cases.write(tmp_path, pet=(turned, affine)), SETTINGS, with_label=True)) == []


def test_images_without_unit(tmp_path):
    settings = verification_cases.settings(("t1", "t2"))
    mr = (PET * 100).astype(np.int16)
    for t2, expected in (
        (mr, []),
        (-1 - mr, ["mr_not_positive"]),
        (CT * 10, ["mr_like_ct"]),
        (0 * mr, ["constant_image"]),
    ):
        case = verification_cases.write(tmp_path, t1=mr, t2=t2)
        assert codes(examine(case, settings, with_label=False)) == expected
    single = verification_cases.write(tmp_path, t1=mr[..., 5:6], t2=mr[..., 5:6])
    assert codes(examine(single, settings, with_label=False)) == ["single_slice"] * 2


def test_a_unit_that_the_user_names_is_accepted(tmp_path):
    case = verification_cases.write(tmp_path, pet=PET * 4000)
    named = {**SETTINGS.normalisation, "pet": Normalisation.parse("suv:0:40000")}
    assert codes(examine(case, dataclasses.replace(SETTINGS, normalisation=named), with_label=True)) == []


def test_an_accepted_misnamed_file_is_reported(tmp_path):
    case = verification_cases.write(tmp_path)
    near = dataclasses.replace(case, near_matches={"label": case.label.path})
    assert codes(examine(near, SETTINGS, with_label=True)) == ["near_match"]
    assert codes(examine(near, SETTINGS, with_label=False)) == []


def test_workers_stay_small():
    # In a process of its own: others here have loaded TensorFlow.
    import subprocess

    told = subprocess.run(
        [sys.executable, "-c", "import sys, semicml_tf.conversion.verification.examine_case as _; "
         "print('tensorflow' in sys.modules)"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "False"


def sts():
    for folder in (os.environ.get("SEMICML_TF_STS"), REPOSITORY.parent / "shared/data/sts"):
        if folder and pathlib.Path(folder, "imagesTr").is_dir():
            return pathlib.Path(folder)
    return None


@pytest.mark.skipif(sts() is None, reason="the STS data is not on this machine")
def test_real_patients():
    settings = Settings.parse(
        modalities=("ct", "pet"), reference_modality="ct", spacing_mm=(3.27, 3, 3),
        normalisation=("ct=hu:-200:300", "pet=suv:0:15"), label_values=(1,), background_values=(0,),
        allow_empty_labels=False,
    )  # fmt: skip
    cases = {case.case_id: case for case in catalogue.choose("hecktor", sts()).find(sts(), settings.modalities)}
    labelled = {name: name not in ("STS_031", "STS_044") for name in cases}  # as its split has them
    found = {
        name: codes(examine(cases[name], settings, with_label=labelled[name]))
        for name in ("STS_002", "STS_017", "STS_019", "STS_031", "STS_033", "STS_044")
    }
    assert found == {
        "STS_002": [], "STS_017": [], "STS_033": [],
        "STS_019": ["label_displaced"], "STS_031": ["slices_offset"], "STS_044": ["extent_differs"],
    }  # fmt: skip
    assert codes(examine(cases["STS_019"], settings, with_label=False)) == ["uptake_in_air"]
