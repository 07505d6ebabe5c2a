"""`python -m semicml_tf.predict` on several volumes: errors of one, going on, pairs of modalities."""

import json
import os
import pathlib

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.inference import inputs
from tests.support import threshold_model
from tests.support.file_names import any_letters
from tests.support.layout_folders import touch

COMMAND = "semicml_tf.predict"
AFFINE = threshold_model.oblique()


def save(path, modality="ct", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = threshold_model.volume(modality, seed=seed)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
    return values > threshold_model.LEVELS[modality]


def read(path):
    return np.asarray(nibabel.load(path).dataobj)


def record(folder):
    return json.loads((folder / "predictions.json").read_text())


@pytest.fixture
def folder(tmp_path):
    expected = {name: save(tmp_path / "in" / f"{name}.nii.gz", seed=seed) for seed, name in enumerate("abc")}
    (tmp_path / "in" / "notes.txt").write_text("no volume")
    return tmp_path, expected


def predict(models, tmp_path, *more, model="ct"):
    names = [f"--model={models / model}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    commandline.call(COMMAND, [*names, *more])


def test_one_case_that_fails_does_not_stop_the_rest(models, folder, capsys):
    tmp_path, expected = folder
    broken = (tmp_path / "in" / "b.nii.gz").read_bytes()
    (tmp_path / "in" / "b.nii.gz").write_bytes(broken[:-200])
    with pytest.raises(SystemExit) as left:
        commandline.run(
            COMMAND, [f"--model={models / 'ct'}", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
        )
    assert left.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "predictions.json: 1 of 3 cases failed: b (" in last and "b.nii.gz: " in last and "\x1b" not in last
    for name in "ac":
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}.nii.gz"), expected[name])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "c.nii.gz", "predictions.json"]
    cases = record(tmp_path / "out")["cases"]
    assert cases["b"]["status"] == "failed" and "truncated" in cases["b"]["error"]
    found = cases["a"]
    assert found["voxels"] == expected["a"].sum() and found["seconds"] >= 0
    np.testing.assert_allclose(found["ml"], expected["a"].sum() * 2.0 * 2.5 * 4.0 / 1000)
    assert found["models"]["ct"] == [{"model": str(models / "ct" / "1"), "version": 1, "run_hash": "run-ct"}]
    # Mended, the same command does that case alone.
    times = {name: os.stat(tmp_path / "out" / f"{name}.nii.gz").st_mtime_ns for name in "ac"}
    (tmp_path / "in" / "b.nii.gz").write_bytes(broken)
    predict(models, tmp_path)
    assert "3 of 3 cases segmented, 2 of them before" in capsys.readouterr().out
    assert times == {name: os.stat(tmp_path / "out" / f"{name}.nii.gz").st_mtime_ns for name in "ac"}
    np.testing.assert_array_equal(read(tmp_path / "out" / "b.nii.gz"), expected["b"])


def test_two_images_of_one_name_are_a_failed_case(models, folder, capsys):
    tmp_path, _ = folder
    save(tmp_path / "in" / "b.nii")
    with pytest.raises(
        UserError, match="1 of 3 cases failed: b .*several images of 'ct' are named b.*Remove or rename"
    ):
        predict(models, tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.gz")) == ["a.nii.gz", "c.nii.gz"]
    assert "skipped" not in capsys.readouterr().err


def test_done_again_are_those_that_changed_and_all_with_overwrite(models, folder, capsys):
    tmp_path, _ = folder
    predict(models, tmp_path)
    (tmp_path / "out" / "a.nii.gz").unlink()
    changed = save(tmp_path / "in" / "c.nii.gz", seed=9)
    predict(models, tmp_path)
    assert "1 of them before" in capsys.readouterr().out
    np.testing.assert_array_equal(read(tmp_path / "out" / "c.nii.gz"), changed)
    with pytest.raises(UserError, match="other models or settings.*--overwrite"):
        predict(models, tmp_path, "--postprocess=largest")
    predict(models, tmp_path, "--postprocess=largest", "--overwrite")
    assert record(tmp_path / "out")["settings"]["postprocessing"] == "largest"
    assert {case["postprocessing"] for case in record(tmp_path / "out")["cases"].values()} == {"largest"}


def test_an_unforeseen_error_is_recorded_and_an_interruption_goes_through(models, folder, monkeypatch):
    from semicml_tf.inference import segment_case

    tmp_path, _ = folder

    def broken(path, *_):
        raise RuntimeError("two\nlines") if path.name == "a.nii.gz" else KeyboardInterrupt

    monkeypatch.setattr(segment_case, "write_array", broken)
    with pytest.raises(KeyboardInterrupt):
        predict(models, tmp_path)
    told = record(tmp_path / "out")["cases"]["a"]["error"]
    assert told.startswith("an unexpected RuntimeError at test_folder.py:") and "(two)" in told
    assert "two\nlines" in (tmp_path / "out" / "predictions.debug.log").read_text()
    assert set(record(tmp_path / "out")["cases"]) == {"a"}


def test_an_unforeseen_error_of_one_volume_is_one_line(models, folder, monkeypatch):
    from semicml_tf.files.source import NiftiFile

    tmp_path, _ = folder

    def broken(self):
        raise KeyError(7)

    monkeypatch.setattr(NiftiFile, "read_volume", broken)
    given, output = tmp_path / "in" / "a.nii.gz", tmp_path / "m.nii.gz"
    with pytest.raises(UserError, match=r"a.nii.gz: an unexpected KeyError at test_folder.py:\d+ \(7\)"):
        commandline.call(COMMAND, [f"--model={models / 'ct'}", str(given), str(output)])
    assert not output.exists() and "KeyError: 7" in (tmp_path / "m.nii.gz.debug.log").read_text()


def test_several_files_and_maps_in_folders_of_their_own(models, folder):
    tmp_path, expected = folder
    files = ",".join(str(tmp_path / "in" / f"{name}.nii.gz") for name in "ac")
    maps = [f"--{name}={tmp_path / name}" for name in ("probabilities", "entropy")]
    commandline.call(COMMAND, [f"--model={models / 'ct'}", f"--input={files}", f"--output={tmp_path / 'out'}", *maps])
    for name in "ac":
        np.testing.assert_array_equal(read(tmp_path / "probabilities" / f"{name}.nii.gz") >= 0.5, expected[name])
        assert read(tmp_path / "entropy" / f"{name}.nii.gz").max() <= 1
    assert not (tmp_path / "out" / "b.nii.gz").exists()


def test_refused_before_any_work(models, folder):
    tmp_path, _ = folder

    def refused(message, *arguments):
        with pytest.raises(UserError, match=message) as caught:
            commandline.call(COMMAND, [str(argument) for argument in arguments])
        assert "\n" not in caught.value.line

    model, given = f"--model={models / 'ct'}", f"--input={tmp_path / 'in'}"
    refused("among the inputs", model, given, f"--output={tmp_path / 'in'}")
    assert not (tmp_path / "in" / "predictions.json").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    refused("holds other things", model, given, f"--output={tmp_path / 'full'}")
    refused("got a file", model, given, f"--output={tmp_path / 'in' / 'notes.txt'}")
    refused("a folder each", model, given, f"--output={tmp_path / 'out'}", f"--entropy={tmp_path / 'out'}")
    (tmp_path / "empty").mkdir()
    refused("expected NIfTI files", model, f"--input={tmp_path / 'empty'}", f"--output={tmp_path / 'out'}")
    refused("no such file or folder", model, f"--input={tmp_path / 'in'},gone", f"--output={tmp_path / 'out'}")
    two = f"{tmp_path / 'in/a.nii.gz'},{tmp_path / 'in/b.nii.gz'}"
    refused("one output, got 2", model, f"--input={two}", f"--output={tmp_path / 'x.nii.gz'}")
    both = f"--model=ct={models / 'ct'},pet={models / 'pet'}"
    refused("input of each of the models' modalities", both, given, f"--output={tmp_path / 'out'}")
    refused("expected inputs of .*, got ct", both, f"--input=ct={tmp_path / 'in'}", f"--output={tmp_path / 'out'}")
    refused("models of one modality", f"--model={models / 'ct'},{models / 'pet'}", given, f"--output={tmp_path / 'o'}")
    refused("'pet', got one for 'ct'", f"--model=pet={models / 'ct'}", given, f"--output={tmp_path / 'o'}")
    refused(
        "models of several modalities",
        model,
        given,
        f"--output={tmp_path / 'o'}",
        f"--disagreement={tmp_path / 'd'}",
    )
    refused("several answers", model, given, f"--output={tmp_path / 'o'}", f"--mutual_information={tmp_path / 'd'}")
    refused("has no Monte-Carlo", model, given, f"--output={tmp_path / 'o'}", "--mc_dropout=2")


def test_pairs_of_modalities_go_by_name(models, tmp_path):
    scans = tmp_path / "scans"
    ct = save(scans / "P1_ct.nii.gz", "ct", seed=1)
    pet = save(scans / "P1__PT.nii.gz", "pet", seed=2)
    save(scans / "P2_ct.nii.gz", "ct", seed=3)
    with pytest.raises(UserError, match=r"1 of 2 cases failed: P2 \(case P2 lacks its image of 'pet'"):
        commandline.call(
            COMMAND,
            [
                f"--model=ct={models / 'ct'},pet={models / 'pet'}",
                f"--input=ct={scans},pet={scans}",
                f"--output={tmp_path / 'out'}",
                f"--disagreement={tmp_path / 'differ'}",
            ],
        )
    np.testing.assert_array_equal(read(tmp_path / "out" / "P1.nii.gz"), ct)
    differ = read(tmp_path / "differ" / "P1.nii.gz")
    np.testing.assert_array_equal(differ > 0.5, ct != pet)
    assert record(tmp_path / "out")["cases"]["P1"]["compared"] == 1.0


def test_every_volume_of_a_folder_is_a_case(models, tmp_path, capsys):
    ct = save(tmp_path / "in" / "P1_ct.NII.GZ", seed=1)
    for name in ("P2_ct.hdr", "P2_ct.img", "P3_ct.mha"):
        (tmp_path / "in" / name).write_bytes(bytes(400))
    with pytest.raises(UserError, match="2 of 3 cases failed: P2_ct.hdr .*one half of a .hdr/.img pair"):
        predict(models, tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "out" / "P1_ct.nii.gz"), ct)
    # Where the modality is named, what does not bear the name is counted.
    capsys.readouterr()
    scans = tmp_path / "in"
    commandline.call(COMMAND, [f"--model={models / 'ct'}", f"--input=ct={scans}", f"--output={tmp_path / 'named'}"])
    told = capsys.readouterr().err
    assert "note: skipped 2 volumes whose names do not end in _ct: P2_ct.hdr, P3_ct.mha" in told
    assert (tmp_path / "named" / "P1.nii.gz").is_file()


@any_letters
def test_files_of_any_name(models, tmp_path):
    names = [os.fsdecode(b"M\xfcller"), "P\x1b[31m", "L" * 248]
    try:
        ct = [save(tmp_path / "in" / f"{name}.nii.gz", seed=seed) for seed, name in enumerate(names)]
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    predict(models, tmp_path)
    for name, mask in zip(names, ct):
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{name}.nii.gz"), mask)
    assert set(record(tmp_path / "out")["cases"]) == {r"M\xfcller", r"P\x1b[31m", names[2]}
    os.remove(tmp_path / "out" / f"{names[0]}.nii.gz")
    predict(models, tmp_path)  # does what is not done yet
    assert (tmp_path / "out" / f"{names[0]}.nii.gz").is_file()
    (tmp_path / "in" / f"{names[2]}.nii.gz").rename(tmp_path / "in" / f"{'L' * 251}.nii")
    with pytest.raises(UserError, match="has more than 255 bytes"):
        predict(models, tmp_path)
    for given, output, message in (
        ("x" * 300, "m.nii.gz", "File name too long"),
        (tmp_path / "out" / f"{names[1]}.nii.gz", f"{'x' * 250}.nii.gz", "File name too long"),
    ):
        with pytest.raises(UserError, match=message):
            commandline.call(COMMAND, [f"--model={models / 'ct'}", str(given), str(tmp_path / output)])


def test_what_conversion_takes_is_segmented_too(models, tmp_path):
    ct = save(tmp_path / "files" / "1.nii.gz", "ct", seed=1)
    save(tmp_path / "files" / "2.nii.gz", "pet", seed=2)
    (tmp_path / "cases.csv").write_text("case,ct,pet,label\nP1,files/1.nii.gz,files/2.nii.gz,\nP2,,files/2.nii.gz,\n")
    both = f"--model=ct={models / 'ct'},pet={models / 'pet'}"
    for model in (f"--model={models / 'ct'}", both):
        with pytest.raises(UserError, match=r"1 of 2 cases failed: P2 \(case P2 lacks its image of 'ct'"):
            commandline.call(
                COMMAND, [model, f"--input={tmp_path / 'cases.csv'}", f"--output={tmp_path / 'o'}", "--overwrite"]
            )
        np.testing.assert_array_equal(read(tmp_path / "o" / "P1.nii.gz"), ct)
    with pytest.raises(UserError, match="expected a folder for the masks"):
        commandline.call(COMMAND, [both, f"--input={tmp_path / 'cases.csv'}", f"--output={tmp_path / 'm.nii.gz'}"])
    (tmp_path / "cases.csv").write_text("case,ct\n../P1,files/1.nii.gz\n")
    with pytest.raises(UserError, match="no file can be named after case '../P1'"):
        commandline.call(
            COMMAND, [f"--model={models / 'ct'}", f"--input={tmp_path / 'cases.csv'}", f"--output={tmp_path / 'n'}"]
        )
    assert not (tmp_path / "n").exists()


def test_the_layouts_of_conversion(tmp_path):
    touch(
        *(tmp_path / f"span-1/imagesTr/P1__{what}.nii.gz" for what in ("CT", "PT")),
        tmp_path / "span-1/imagesTr/P2__PT.nii.gz",
    )
    for root in (tmp_path, tmp_path / "span-1"):
        first, second = inputs.of_layout(str(root), ("ct",))
        assert first.source("ct").path == tmp_path / "span-1/imagesTr/P1__CT.nii.gz"
        assert second.name == "P2" and second.source("ct").missing()
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "CT", "1": "PET"}}')
    touch(tmp_path / "task/imagesTr/A.nii.gz")
    (tmp_path / "dataset.json").rename(tmp_path / "task/dataset.json")
    (case,) = inputs.of_layout(str(tmp_path / "task"), ("pet",))
    assert case.source("pet").channel == 1
    for other in ("task/imagesTr", "gone", "x" * 300):  # a folder of volumes is read as one
        assert inputs.of_layout(str(tmp_path / other), ("ct",)) is None


def test_names_of_inputs(tmp_path, monkeypatch):
    assert inputs.split_names("a,b") == [(None, "a"), (None, "b")]
    assert inputs.split_names("ct=a,pet=b,ct=c") == [("ct", "a"), ("pet", "b"), ("ct", "c")]
    for path in ("a=1,b.nii", "x=y.nii", "p_CT.nii", "q.nii"):
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path)
    assert inputs.split_names("a=1,b.nii") == [(None, "a=1,b.nii")]  # what exists is what is meant
    assert inputs.split_names("x=y.nii") == [(None, "x=y.nii")]
    for text in ("ct=a,b", "a,", "", ","):
        with pytest.raises(UserError, match="expected PATH"):
            inputs.split_names(text)
    case = inputs.several_cases({"ct": (pathlib.Path("p_CT.nii"), pathlib.Path("q.nii"))}, named=False)
    assert [one.name for one in case] == ["p_CT", "q"]
