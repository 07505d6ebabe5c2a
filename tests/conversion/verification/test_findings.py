"""Findings as data and as a table."""

import dataclasses
import json

import pytest

from semicml_tf.conversion.verification import findings
from semicml_tf.conversion.verification.findings import CODES, CaseReport, Finding
from semicml_tf.errors import UserError


def some(number=1, code="missing_file", remedy="Add it"):
    return [
        Finding.of(code, f"there is no file {i}", case=f"P{i:02d}", file=f"/a/P{i:02d}.nii", remedy=remedy)
        for i in range(number)
    ]


def test_every_code_has_a_severity_and_a_meaning():
    assert all(severity in ("error", "warning") and meaning for severity, meaning in CODES.values())
    assert all(code.isidentifier() and code == code.lower() for code in CODES)


def test_unknown_codes_and_severities_are_refused():
    with pytest.raises(ValueError, match="got code 'odd'"):
        Finding("odd", "error", "", "", "", "")
    with pytest.raises(ValueError, match="got severity 'fatal'"):
        Finding("missing_file", "fatal", "", "", "", "")


def test_an_error_names_its_code_or_gets_that_of_the_step():
    plain = Finding.of_error("unreadable_image", UserError("bad", path="x.nii", remedy="Mend"), case="P1")
    assert plain == Finding("unreadable_image", "error", "P1", "x.nii", "bad", "Mend")
    assert Finding.of_error("unreadable_image", UserError("bad", code="not_finite")).code == "not_finite"
    assert Finding.of_error("unreadable_image", UserError("bad", code="unknown")).code == "unreadable_image"


def test_json_has_all_findings_in_order():
    found = [*some(30, "tiny_label"), *some(2)]
    body = findings.as_json(found, cases=40, command="convert --x")
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    assert list(body) == ["version", "command", "cases", "errors", "warnings", "findings"]
    assert (body["version"], body["cases"], body["errors"], body["warnings"]) == (1, 40, 2, 30)
    assert body["findings"][0] == dataclasses.asdict(found[30]) and len(body["findings"]) == 32
    assert body == findings.as_json(found[::-1], cases=40, command="convert --x")


def test_a_report_survives_json():
    report = CaseReport("P1", tuple(some(2)), {"ct": {"min": -1000.0}}, None, {"ct": "ab"})
    assert CaseReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_the_table_groups_and_shortens_findings():
    text = findings.table([*some(30, "tiny_label"), *some(2, remedy="Add it")], rows_per_code=3)
    lines = text.splitlines()
    assert lines[0].split()[:4] == ["severity", "code", "case", "file"]
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["error", "missing_file", "P00", "P00.nii"],
        ["error", "missing_file", "P01", "P01.nii"],
    ]
    assert lines[3].strip() == "-> Add it"
    assert sum(line.startswith("warning") for line in lines) == 3 and text.count("Add it") == 2
    assert "... and 27 more of this code: P03, P04" in text and "and 19 more" in text
    assert "/a/" not in text and max(map(len, lines)) <= 120


def test_long_texts_are_wrapped():
    (line, *more) = findings.table([Finding.of("ids_alike", "word " * 60)], width=80).splitlines()[1:]
    assert line.startswith("warning   ids_alike  -     -     word") and len(more) >= 3
    assert all(len(text) <= 80 for text in (line, *more))
    assert findings.table([]) == "no findings"


@pytest.mark.parametrize("number,told", [(1, "1 error, 0 warnings"), (2, "2 errors, 0 warnings")])
def test_summary(number, told):
    assert findings.summary(some(number), cases=1) == f"verified 1 case: {told}"


@pytest.mark.parametrize(
    "codes,named", [(("empty_label", "empty_label"), True), (("empty_label", "label_values"), False)]
)
def test_refuse_names_a_remedy_that_all_errors_share(codes, named):
    found = [Finding.of(code, "bad", case=f"P{i}", remedy=f"Remedy of {code}") for i, code in enumerate(codes)]
    with pytest.raises(UserError, match="2 errors in 2 cases.*All are in r.json.*--skip_bad_cases") as caught:
        findings.refuse(found, "r.json")
    assert ("Remedy of empty_label. All" in caught.value.line) == named
