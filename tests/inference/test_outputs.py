"""The files of a prediction of several classes: masks, label maps, maps, and a DICOM-SEG."""

import json
import pathlib

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.inference.config import SegmentConfig
from semicml_tf.inference.exported_model import load
from semicml_tf.inference.outputs import Outputs
from semicml_tf.inference.segment_files import segment_files
from semicml_tf.inference.volume import Segmenter
from semicml_tf.labels import LabelDefinition
from semicml_tf.phantom import case as cases
from semicml_tf.phantom.dicom_writer import write_dicom
from semicml_tf.postprocessing.steps import Postprocessing
from tests.support import class_models, threshold_model
from tests.support.class_models import EXCLUSIVE, REGIONS

AFFINE = threshold_model.oblique()
CT = class_models.volume((20, 18, 5))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "in.nii.gz"
    nibabel.save(nibabel.Nifti1Image(CT, AFFINE), path)
    return path


def predict(*arguments):
    commandline.call("semicml_tf.predict", [str(one) for one in arguments])


def read(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_names_of_files():
    mask, maps = pathlib.Path("a/m.nii.gz"), {"entropy": pathlib.Path("h.nii")}
    assert Outputs(mask, maps).files() == {"mask": mask, **maps}
    assert {what: str(path) for what, path in Outputs(mask, maps, REGIONS).files().items()} == {
        "mask_whole": "a/m_whole.nii.gz",
        "mask_core": "a/m_core.nii.gz",
        "entropy_whole": "h_whole.nii",
        "entropy_core": "h_core.nii",
    }
    assert {what: str(path) for what, path in Outputs(mask, {}, EXCLUSIVE).files().items()} == {
        "mask": "a/m.nii.gz",
        "classes": "a/m.classes.json",
    }
    assert Outputs(pathlib.Path("m.dcm"), {}, REGIONS).files() == {"mask": pathlib.Path("m.dcm")}


def test_regions_are_a_mask_each(models_of_classes, image, tmp_path, capsys):
    model = models_of_classes["sigmoid"] / "ct"
    flags = [f"--probabilities={tmp_path / 'p.nii.gz'}", f"--entropy={tmp_path / 'h.nii.gz'}"]
    predict(f"--model={model}", image, tmp_path / "m.nii.gz", *flags, f"--overlay={tmp_path / 'o.png'}")
    expected = class_models.expected(REGIONS, CT)
    for name, mask in zip(REGIONS.names, expected):
        np.testing.assert_array_equal(read(tmp_path / f"m_{name}.nii.gz"), mask)
        p = read(tmp_path / f"p_{name}.nii.gz")
        np.testing.assert_array_equal(p > 0.5, mask)
        assert p.dtype == np.float32 and read(tmp_path / f"h_{name}.nii.gz").max() < 0.1
    assert not (tmp_path / "m.nii.gz").exists() and (tmp_path / "o.png").stat().st_size > 10_000
    out = capsys.readouterr().out
    assert f"whole {expected[0].sum() * 0.02:.1f} ml, core {expected[1].sum() * 0.02:.1f} ml, from ct" in out
    opened = load(model)
    np.testing.assert_array_equal(opened.predict(CT, AFFINE), expected)
    assert opened.probabilities(CT, AFFINE).shape == (2, *CT.shape)


def test_exclusive_classes_are_a_label_map_of_the_source(models_of_classes, image, tmp_path):
    model = models_of_classes["softmax"] / "ct"
    predict(f"--model={model}", image, tmp_path / "m.nii.gz", f"--overlay={tmp_path / 'o.png'}", "--flips")
    numbers = class_models.expected(EXCLUSIVE, CT)
    found = read(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(found, np.int16([0, 3, 300, 2])[numbers])
    assert nibabel.load(tmp_path / "m.nii.gz").header["cal_max"] == 300
    body = json.loads((tmp_path / "m.classes.json").read_text())
    assert body["values"] == {"fat": 3, "water": 300, "bone": 2}
    np.testing.assert_array_equal(load(model).predict(CT, AFFINE), numbers)


def test_a_folder_of_cases(models_of_classes, image, tmp_path):
    for activation in ("sigmoid", "softmax"):
        flags = [f"--model={models_of_classes[activation] / 'ct'}", image.parent, tmp_path / activation]
        predict(*flags, "--postprocess=fill_holes")
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / activation).glob("in*")}
        predict(*flags, "--postprocess=fill_holes")
        assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / activation).glob("in*")}
        body = json.loads((tmp_path / activation / "predictions.json").read_text())
        assert set(body["settings"]["labels"]["classes"]) == set(body["cases"]["in"]["voxels"])
    assert set(before) == {"in.nii.gz", "in.classes.json"}
    assert (tmp_path / "sigmoid" / "in_core.nii.gz").is_file()


def test_thresholds(models_of_classes, models, image, tmp_path):
    # Every voxel lies 10 HU or more from a level, which a threshold does not reach.
    model = f"--model={models_of_classes['sigmoid'] / 'ct'}"
    values = np.full((6, 6, 6), -49.3, np.float32)  # 0.5 of `whole`, 0 of `core`
    values[0, 0, 0] = -1000
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "level.nii.gz")
    for value, share in (("whole=0.4", 1), ("whole=0.6,core=0.5", 0)):
        predict(model, tmp_path / "level.nii.gz", tmp_path / "m.nii.gz", f"--mask_threshold={value}")
        assert read(tmp_path / "m_whole.nii.gz")[1:].mean() == share and not read(tmp_path / "m_core.nii.gz").any()
    predict(f"--model={models / 'ct'}", image, tmp_path / "plain.nii.gz", "--mask_threshold=0.9")
    np.testing.assert_array_equal(read(tmp_path / "plain.nii.gz"), CT > threshold_model.LEVELS["ct"])


def test_post_processing_of_some_classes_replaces_the_models_own(models_of_classes, image, tmp_path):
    before = class_models.expected(REGIONS, CT)
    largest = Postprocessing(largest=True).apply(before[1], 0.02)
    assert 0 < largest.sum() < before[1].sum()
    model = f"--model={models_of_classes['sigmoid'] / 'ct'}"
    for text, core in (("core=largest", largest), ("whole=none, core=largest", largest), ("core=none", before[1])):
        predict(model, image, tmp_path / "m.nii.gz", f"--postprocess={text}")
        np.testing.assert_array_equal(read(tmp_path / "m_whole.nii.gz"), before[0])
        np.testing.assert_array_equal(read(tmp_path / "m_core.nii.gz"), core)
    # The models of an ensemble get the same steps; the record of a folder names them by class.
    pair = f"--model={models_of_classes['sigmoid'] / 'ct'},{models_of_classes['sigmoid'] / 'ct'}"
    predict(pair, image.parent, tmp_path / "masks", "--postprocess=core=fill_holes+min_ml=1e9")
    assert not read(tmp_path / "masks" / "in_core.nii.gz").any()
    settings = json.loads((tmp_path / "masks" / "predictions.json").read_text())["settings"]
    assert settings["postprocessing"] == {"whole": "none", "core": "fill_holes+min_ml=1000000000"}


@pytest.mark.parametrize(
    "activation, flags, message",
    [
        (
            "sigmoid",
            ["--postprocess=heart=largest"],
            "the classes whole, core at most once, got 'heart=largest'",
        ),
        ("sigmoid", ["--postprocess=core=largest,core=none"], "at most once, got 'core=none'"),
        ("sigmoid", ["--postprocess=largest,core=none"], "at most once, got 'largest'"),
        ("softmax", ["--postprocess=fat=smooth"], "expected post-processing steps, got 'smooth'"),
        ("softmax", ["--postprocess=fat"], "expected post-processing steps, got 'fat'"),
        ("sigmoid", ["--postprocess=largest+min_ml=x"], "expected a volume in ml above 0, got 'x'"),
        ("sigmoid", ["--mask_threshold=0.4"], "expected --mask_threshold=whole=VALUE or core=VALUE .*got '0.4'"),
        ("sigmoid", ["--mask_threshold=core=2"], "at most 1, got 'core=2'"),
        ("softmax", ["--mask_threshold=fat=0.4"], "the model's classes exclude each other"),
        ("sigmoid", ["--segment_codes=core=SCT:1:x"], "--segment_codes are of a DICOM-SEG"),
        ("sigmoid", ["--segment_codes=heart=SCT:1:x"], "each of the classes whole, core at most once"),
        ("sigmoid", ["--segment_codes=core=SCT"], "expected NAME=SCHEME:CODE:MEANING"),
        ("sigmoid", ["--segment_codes=core=SCT:12345678901234567:x"], "at most 16 characters"),
    ],
)
def test_wrong_options_are_one_line(models_of_classes, image, tmp_path, activation, flags, message):
    with pytest.raises(UserError, match=message) as caught:
        predict(f"--model={models_of_classes[activation] / 'ct'}", image, tmp_path / "m.nii.gz", *flags)
    assert "\n" not in caught.value.line and not list(tmp_path.iterdir())


def test_models_of_other_classes_are_refused(models_of_classes, models, image, tmp_path):
    regions, exclusive = (models_of_classes[name] / "ct" for name in ("sigmoid", "softmax"))
    other = "got whole:1\\+2,core:2 .regions. of 'ct' and fat:3,water:300,bone:2\\+7 .exclusive classes. of 'ct'"
    with pytest.raises(UserError, match=other):
        predict(f"--model={regions},{exclusive}", image, tmp_path / "m.nii.gz")
    pair = [f"--model=ct={regions},pet={models / 'pet'}", f"--input=ct={image},pet={image}"]
    with pytest.raises(UserError, match="of 'ct' and lesion:1 .one region. of 'pet'"):
        predict(*pair, f"--output={tmp_path / 'm.nii.gz'}", "--fuse")
    assert not list(tmp_path.iterdir())


def test_cases_with_one_output_are_refused(tmp_path, image):
    (tmp_path / "in").mkdir()
    for name in ("a", "a_inner"):
        (tmp_path / "in" / f"{name}.nii.gz").write_bytes(image.read_bytes())
    labels = LabelDefinition({"core": (1,), "inner_core": (2,)})
    model = Segmenter(class_models.manifest(labels))
    with pytest.raises(UserError, match="a_inner_core.nii.gz: cases a and a_inner have one output"):
        segment_files({"ct": [model]}, SegmentConfig(input=tmp_path / "in", output=tmp_path / "out"))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_dicom_seg_has_a_segment_per_class(models_of_classes, activation, tmp_path):
    write_dicom(tmp_path / "study", cases.generate(0, 1, size_mm=(120, 120, 64), spacing_mm=(4, 4, 4)))
    series = next((tmp_path / "study").rglob("ct/*.dcm")).parent
    labels = {"sigmoid": REGIONS, "softmax": EXCLUSIVE}[activation]
    last = labels.names[-1]
    flags = [f"--model={models_of_classes[activation] / 'ct'}", series]
    predict(*flags, tmp_path / "seg.dcm", f"--segment_codes={last}=SCT:272673000:Bone structure")
    predict(*flags, tmp_path / "m.nii.gz")
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert seg.number_of_segments == len(labels.names)
    codes = [seg.get_segment_description(number).segmented_property_type for number in seg.segment_numbers]
    assert (codes[-1].scheme_designator, codes[-1].value, codes[-1].meaning) == ("SCT", "272673000", "Bone structure")
    assert (codes[0].scheme_designator, codes[0].meaning) == ("99SEMICML", labels.names[0])
    images = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, series.glob("*.dcm"))}
    numbers = sorted(images, key=lambda uid: float(images[uid].ImagePositionPatient[2]))
    found = seg.get_pixels_by_source_instance(
        numbers, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    for number, name in enumerate(labels.names):
        assert seg.get_segment_description(number + 1).segment_label == f"{name} (research only)"
        path = tmp_path / ("m.nii.gz" if labels.exclusive else f"m_{name}.nii.gz")
        mask = read(path) == (labels.classes[name][0] if labels.exclusive else 1)
        assert mask.any() and found[..., number].sum() == mask.sum()
