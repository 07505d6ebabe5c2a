"""Names of patients that are markup, formulas or control characters, through every table and picture."""

import csv
import io
import itertools

import numpy as np
import pytest

from semicml_tf.evaluation import comparison, report, table
from semicml_tf.system import tables
from semicml_tf.training.monitoring import run_log
from semicml_tf.training.validation import Validated
from tests.support import report_runs

NAMES = (
    "a|b", "x\n| y |", "<script>alert(1)</script>", "[click](javascript:alert(1))", "=cmd|' /C calc'!A0", "+1+1",
    "@SUM(A1)", "-2+3", "\x1b[2J\x07bell", "$\\frac{$", "\u202egnp.exe", "# head",
)  # fmt: skip


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    dice = {name: dict.fromkeys(NAMES, 0.0) for name in ("ct", "pet")}
    folder = report_runs.write(tmp_path_factory.mktemp("names") / "run", dice, images=None)
    return folder / "evaluation" / "test" / "metrics.json"


def groups(text):
    return itertools.groupby(text.split("\n"), key=lambda line: line.startswith("|"))


def test_markdown_has_as_many_cells_and_lines_as_there_are(metrics):
    text = comparison.markdown(comparison.build([metrics], ["=run|a\n"]))
    blocks = [list(lines) for is_table, lines in groups(text) if is_table]
    assert len(blocks) >= 2
    for lines in blocks:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1, lines
    assert "<script" not in text.replace("\\<script", "") and "](" not in text.replace("\\](", "")
    assert not any(character in text for character in "\x1b\x07\u202e") and "\\x1b[2J\\x07bell" in text
    rows = [line for line in text.splitlines() if line.startswith("| =run\\|a\\x0a |")]
    assert len(rows) >= 2


def test_csv_has_no_formula(metrics):
    rows = list(csv.DictReader(io.StringIO(table.scores_csv(report.load(metrics)))))
    names = {row["case_id"] for row in rows}
    assert not [name for name in names if name[0] in "=+-@"]
    assert {name.removeprefix("'") for name in names} == set(NAMES)
    assert {row["dice"] for row in rows} == {"0.0", "0.1"}
    assert [tables.csv(value) for value in (-1.5, "-1", "a-1", None, "")] == [-1.5, "'-1", "a-1", None, ""]


def test_markdown_does_not_change_harmless_names_and_numbers():
    for text in ("P_001 [left]", "<.001", "0.61 ± 0.10", "-", "**.800**", "a * b", "`--flag`"):
        assert tables.markdown(text) == text


def test_columns_of_a_table_for_the_screen_are_as_wide_as_their_longest_cell():
    assert tables.aligned([["a", "bcd", "e"], ["fgh", "", ""]]) == ["a    bcd  e", "fgh"]
    long = "A" * 150 + "B" * 150
    shortened = "A" * 24 + "…" + "B" * 23
    assert tables.aligned([["a", "b"], [long, long]]) == [f"a{' ' * 49}b", f"{shortened}  {long}"]


def test_pictures_of_training_accept_any_name():
    image = np.zeros((8, 8), np.float32)
    maps = image[np.newaxis]
    shown = {name: ({"ct": image}, maps, {"ct": maps}) for name in NAMES[1:2] + NAMES[-4:]}
    validated = Validated({"ct": {"lesion": 0.1}}, {"ct": (0.5,)}, (), shown)
    assert run_log.draw_slices(validated, "epoch 1").startswith(b"\x89PNG")
