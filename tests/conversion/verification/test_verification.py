"""`semicml_tf.convert` where cases are bad: what is told, what is left out, what stays."""

import json
import os

import pytest

from semicml_tf import commandline
from semicml_tf.conversion import build_case
from semicml_tf.conversion.execution import dataset_writer, tasks
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from tests.conversion.test_command import bad_case, contents, refused
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, hecktor, write_split
from tests.support.file_names import any_letters


@pytest.fixture
def source(tmp_path):
    return hecktor(tmp_path / "source")


def test_the_work_folder_is_removed_without_finished_cases(source, tmp_path):
    refused(source, tmp_path / "out", "unknown partition", f"--split={write_split(tmp_path, {'train': ['P1']})}")
    assert not (tmp_path / ".out.work").exists()


def test_verifying_only(source, tmp_path, capsys):
    path, message = bad_case(source, "truncated")
    bad_case(source, "label values")
    line = refused(source, tmp_path / "out", "2 errors in 1 case, the first: ", "--verify_only")
    assert "--skip_bad_cases" in line and str(tmp_path / "out.verify.json") in line
    told = json.loads((tmp_path / "out.verify.json").read_text(encoding="utf-8"))
    assert (told["cases"], told["errors"]) == (4, 2) and "--verify_only" not in told["command"]
    assert {finding["code"] for finding in told["findings"] if finding["severity"] == "error"} == {
        "unreadable_image",
        "label_values",
    }
    printed = capsys.readouterr().out
    assert "verified 4 cases: 2 errors" in printed and path.name in printed
    assert not (tmp_path / ".out.work").exists()


def test_a_report_that_is_asked_for_is_written_and_kept(source, tmp_path):
    report, stale = tmp_path / "report.json", tmp_path / "out.verify.json"
    for path in (report, stale):
        path.write_text("{}")
    folder = convert(source, tmp_path / "out", f"--report={report}")
    assert json.loads(report.read_text(encoding="utf-8")) == json.loads(
        (folder / "verify.json").read_text(encoding="utf-8")
    )
    assert not stale.exists()


def test_bad_cases_are_left_out_on_request(source, tmp_path, capsys):
    write_split(source, {"labelled": ["P1", "P4"], "unlabelled": ["P2"], "validation": ["P3"]})
    bad_case(source, "truncated")
    folder = convert(source, tmp_path / "out", "--skip_bad_cases")
    assert "skipped because of errors: P1" in capsys.readouterr().out
    info = DatasetInfo.load(folder)
    assert [case.case_id for case in info.cases("labelled")] == ["P4"]
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    assert split["excluded"] == ["P1"] and split["labelled"] == ["P4"]
    assert json.loads((folder / "verify.json").read_text(encoding="utf-8"))["errors"] == 1
    # Frozen with its hash, it is accepted again.
    again = convert(source, tmp_path / "again", f"--split={folder / 'split.json'}")
    assert contents(again)["labelled-00000-of-00001.tfrecord"] == contents(folder)["labelled-00000-of-00001.tfrecord"]


def test_a_case_that_fails_after_verification_is_left_out_on_request(source, tmp_path, monkeypatch, capsys):
    write_split(source, {"labelled": ["P1", "P4"], "unlabelled": ["P2"], "validation": ["P3"]})
    whole = build_case.build

    def broken(case, *arguments, **named):
        if case.case_id == "P1":
            raise MemoryError
        return whole(case, *arguments, **named)

    monkeypatch.setattr(tasks, "build", broken)
    refused(source, tmp_path / "out", "case P1: there is not enough memory")
    folder = convert(source, tmp_path / "out", "--skip_bad_cases")
    assert "skipped because of errors: P1" in capsys.readouterr().out
    info = DatasetInfo.load(folder)
    assert [case.case_id for case in info.cases("labelled")] == ["P4"]
    assert json.loads((folder / "split.json").read_text(encoding="utf-8"))["excluded"] == ["P1"]
    told = json.loads((folder / "verify.json").read_text(encoding="utf-8"))["findings"]
    assert [(one["code"], one["case"]) for one in told if one["severity"] == "error"] == [("unexpected", "P1")]


def test_without_a_split_everything_can_be_verified(source, tmp_path, capsys):
    (source / "split.json").unlink()
    # A label whose images are misnamed is reported, and under pseudonyms its name is not.
    for path in ("imagesTr/P1__CT.nii.gz", "labelsTr/P1.nii.gz"):
        (source / path).rename(source / path.replace("P1", "Meyer").replace("CT", "CT1"))
    (source / "imagesTr/P1__PT.nii.gz").unlink()
    for flag, file in (("--nopseudonymize", "labelsTr/Meyer.nii.gz"), ("--pseudonymize", "labelsTr/")):
        convert(source, tmp_path / "out", "--verify_only", flag)
        printed, report = capsys.readouterr().out, (tmp_path / "out.verify.json").read_text(encoding="utf-8")
        assert "there is no split" in printed and "verified 3 cases: 0 errors" in printed
        stray = [one for one in json.loads(report)["findings"] if one["code"] == "unclaimed_file"]
        assert len(stray) == 2 and any(file in one["file"] for one in stray)
        assert ("Meyer" in report + printed) == (flag == "--nopseudonymize")


def test_an_input_that_links_to_itself(tmp_path):
    (tmp_path / "source").symlink_to("source")
    refused(tmp_path / "source", tmp_path / "out", "there is no such folder or file")


@any_letters
def test_names_that_terminals_and_utf_8_cannot_hold(tmp_path, capsys):
    names = {os.fsdecode(b"M\xfcller"): r"M\xfcller", "P\x1b[31m": r"P\x1b[31m", "L" * 240: "L" * 240}
    parent = tmp_path / os.fsdecode(b"\xe9tude")
    try:
        image_folders.hecktor(parent, names)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    (parent / "labelsTr" / f"{next(iter(names))}.nii").write_bytes(b"")  # a finding that names the file
    (parent / "labelsTr" / f"{next(iter(names))}.nii").rename(parent / "labelsTr" / os.fsdecode(b"\xfc.nii"))
    flags = [f"--input={parent}", f"--output={tmp_path / 'out'}", "--split_seed=0", *FLAGS]
    for flag in ("--nopseudonymize", "--pseudonymize"):
        commandline.call("semicml_tf.convert", [*flags, "--overwrite", flag])
        printed = capsys.readouterr().out
        for text in (
            printed,
            (tmp_path / "out" / "verify.json").read_text(encoding="utf-8"),
            (tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"),
        ):
            assert "\x1b" not in text and ("ller" in text) <= (flag == "--nopseudonymize")
        info = DatasetInfo.load(tmp_path / "out")
        held = {case.case_id for cases in info.partitions.values() for case in cases}
        if flag == "--nopseudonymize":
            assert held == set(names.values())
            assert all(len(dataset_writer.picture_name(name).encode()) < 255 for name in held)
            assert r"\xfc.nii" in printed
            commandline.call(
                "semicml_tf.inspect", [str(tmp_path / "out"), f"--case={'L' * 240}", f"--output={tmp_path / 'look'}"]
            )
            assert len(list((tmp_path / "look").iterdir())) >= 3
    with pytest.raises(UserError, match=r"\\xfcx: there is no such folder"):
        commandline.call(
            "semicml_tf.convert", [f"--input={os.fsdecode(bytes([252]))}x", f"--output={tmp_path / 'x'}", *FLAGS]
        )
