"""Every layout that the phantom is written in is found out by itself and gives the same records."""

import json
import subprocess
import sys

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo

SMALL = (
    "--cases=4",
    "--labelled=1",
    "--validation=1",
    "--test=1",
    "--phantom_size_mm=120,120,48",
    "--empty_fraction=0",
)
TRUNKS = {"hecktor": (), "hecktor2021": (), "csv": (), "dicom": ()}
HEADS = {"brats": (), "brats2020": (), "brats2023": (), "decathlon": (), "nnunet": (), "bids": ()}
TRUNK_FLAGS = ("--modalities=ct,pet", "--spacing_mm=4,4,4")
HEAD_FLAGS = ("--modalities=t2,t1ce", "--spacing_mm=4,4,4", "--label_values=1,2,3,4")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a layout's phantom, made once."""
    folders = {}

    def phantom(layout):
        if layout not in folders:
            folders[layout] = tmp_path_factory.mktemp("layouts") / layout
            commandline.call("semicml_tf.phantom", [f"--output={folders[layout]}", f"--layout={layout}", *SMALL])
        return folders[layout]

    return phantom


def converted(source, output, *flags):
    commandline.call("semicml_tf.convert", [f"--input={source}", f"--output={output}", "--workers=1", *flags])
    info = DatasetInfo.load(output)
    return info, {
        partition: list(shards.read_cases(info, entries)) for partition, entries in info.partitions.items() if entries
    }


def source_of(folder, layout):
    return folder / "manifest.csv" if layout == "csv" else folder


@pytest.fixture(scope="module")
def trunk(made, tmp_path_factory):
    return converted(made("hecktor"), tmp_path_factory.mktemp("trunk") / "out", *TRUNK_FLAGS)[1]


@pytest.fixture(scope="module")
def head(made, tmp_path_factory):
    return converted(made("brats"), tmp_path_factory.mktemp("head") / "out", *HEAD_FLAGS)[1]


@pytest.mark.parametrize("layout", [*TRUNKS, *HEADS])
def test_the_layout_is_found_out_and_gives_the_same_records(layout, made, trunk, head, tmp_path, capsys):
    expected = trunk if layout in TRUNKS else head
    flags = TRUNK_FLAGS if layout in TRUNKS else HEAD_FLAGS
    info, found = converted(source_of(made(layout), layout), tmp_path / "out", *flags)
    assert info.layout == {"brats2020": "brats"}.get(layout, layout)
    assert {partition: len(records) for partition, records in found.items()} == dict.fromkeys(expected, 1)
    printed = capsys.readouterr().out
    assert "0 errors" in printed and "4 cases" in printed
    for partition, (record,) in found.items():
        (like,) = expected[partition]
        assert record.grid.is_close(like.grid, 0.01) and record.native_grid.is_close(like.native_grid, 0.01)
        for name, image in like.images.items():
            # DICOM stores PET in steps of its own; all else is the same number.
            step = 0.01 if layout == "dicom" else 0
            difference = np.abs(record.images[name].astype(np.float32) - image.astype(np.float32))
            assert difference.max() <= step, name
        assert (record.label is None) == (partition == "unlabelled")
        if record.label is not None:
            # Contours of an RTSTRUCT go through voxel centres: a voxel of the border may fall either way.
            overlap = 2 * (record.label & like.label).sum() / (record.label.sum() + like.label.sum())
            assert overlap > 0.97 if layout == "dicom" else overlap == 1


def names_in_dicom(folder):
    import pydicom

    told = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".json", ".csv"):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            tags = (
                "PatientName",
                "PatientID",
                "PatientBirthDate",
                "StudyDate",
                "StudyInstanceUID",
                "SeriesInstanceUID",
            )
            told |= {str(header[tag].value) for tag in tags}
    return {text for text in told if len(text) > 3}


def test_no_patient_tag_path_or_name_of_dicom_reaches_the_dataset_or_a_log(made, tmp_path):
    source = tmp_path / "Erika Mustermann 1964"
    made("dicom").rename(source)
    try:
        secrets = {*names_in_dicom(source), str(source), source.name}
        assert len(secrets) > 4
        command = [sys.executable, "-m", "semicml_tf.convert", f"--input={source}", f"--output={tmp_path / 'out'}"]
        good = subprocess.run([*command, *TRUNK_FLAGS, "--preview", "--workers=1"], capture_output=True, text=True)
        assert good.returncode == 0, good.stderr
        # A file that is cut off: the message tells what is wrong, and not whose file it is.
        broken = next(path for path in sorted(source.rglob("*")) if path.suffix == ".dcm")
        whole = broken.read_bytes()
        broken.write_bytes(whole[: len(whole) // 2])
        bad = subprocess.run([*command, *TRUNK_FLAGS, "--overwrite", "--verify_only"], capture_output=True, text=True)
        bare = subprocess.run([*command, "--verify_only"], capture_output=True, text=True)
        broken.write_bytes(whole)
        assert bad.returncode == 2 and len(bad.stderr.strip().splitlines()) == 1
        assert bare.returncode == 2 and "expected --modalities, which is missing" in bare.stderr
    finally:
        source.rename(made("dicom"))
    told = {"log": (good.stdout + good.stderr).encode(), "bad log": (bad.stdout + bad.stderr).encode()}
    told["log without modalities"] = (bare.stdout + bare.stderr).encode()
    told |= {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    told["verify"] = (tmp_path / "out.verify.json").read_bytes()
    told["names"] = " ".join(path.name for path in (tmp_path / "out").rglob("*")).encode()
    for where, content in told.items():
        for secret in secrets:
            assert secret.encode() not in content, (where, secret)
    # The map, which stays with its owner, names the patients.
    known = (tmp_path / "out.pseudonyms.json").read_text()
    cases = [case["case_id"] for held in json.loads(told["dataset.json"])["partitions"].values() for case in held]
    assert len(cases) == 4 and all(case in known for case in cases)


def test_a_manifest_that_names_dicom_gets_pseudonyms(made, tmp_path, capsys):
    root = made("dicom")
    series = sorted({path.parent for path in root.rglob("*.dcm") if "ct" in path.parent.name.lower()})
    manifest = tmp_path / "cases.csv"
    manifest.write_text("case,ct\n" + "".join(f"Mustermann_{i},{folder}\n" for i, folder in enumerate(series)))
    flags = [f"--input={manifest}", f"--output={tmp_path / 'out'}", "--modalities=ct", "--spacing_mm=4,4,4"]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"unlabelled": [f"Mustermann_{i}" for i in range(len(series))]}))
    commandline.call("semicml_tf.convert", [*flags, f"--split={split}", "--workers=1"])
    told = capsys.readouterr().out.encode()
    told += b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert series and b"Mustermann" not in told and str(root).encode() not in told
    assert "Mustermann_0" in (tmp_path / "out.pseudonyms.json").read_text()


def test_classes_by_the_names_of_segments_and_structures(made, trunk, tmp_path):
    rois = ("--label_rois=tumour=^lesion$", "--label_rois=any=LES", *TRUNK_FLAGS)
    info, found = converted(made("dicom"), tmp_path / "out", *rois)
    assert info.labels.names == ("tumour", "any") and not info.labels.exclusive
    for partition, (record,) in found.items():
        if record.label is not None:
            (like,) = trunk[partition]
            both = info.labels.masks(record.native_label)
            np.testing.assert_array_equal(both[0], both[1])
            assert both[0].sum() == pytest.approx(like.native_label.sum(), rel=0.05)
    with pytest.raises(UserError, match="--label_rois is for labels in DICOM-SEG and RTSTRUCT"):
        converted(made("hecktor"), tmp_path / "no", *rois)
    with pytest.raises(UserError, match="--label_rois and --labels contradict each other"):
        converted(made("dicom"), tmp_path / "no", *rois, "--labels=a:1")
    with pytest.raises(UserError, match="organ"):
        converted(made("dicom"), tmp_path / "no", *rois, "--label_rois=organ=^organ")
