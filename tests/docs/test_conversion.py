"""What docs/conversion.md lists is what there is."""

import pathlib
import re

from semicml_tf import commandline
from semicml_tf.conversion.verification.findings import CODES
from semicml_tf.files.layouts.catalogue import LAYOUTS

TEXT = (pathlib.Path(__file__).parents[2] / "docs/conversion.md").read_text(encoding="utf-8")


def rows(title):
    table = TEXT.split(title)[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def test_every_code_with_its_severity_and_meaning():
    told = {code.strip("` "): (severity, meaning.strip(" |")) for code, severity, meaning in rows("| code |")}
    assert told == CODES


def test_every_layout():
    assert {cells[0].strip("` ") for cells in rows("| layout |")} == set(LAYOUTS)


def test_every_flag_that_it_names():
    commands = ("convert", "compare", "inspect", "phantom", "train")
    names = {name for command in commands for name in commandline.flags_of(f"semicml_tf.{command}")}
    assert set(re.findall(r"--(\w+)", TEXT)) - {"flink_master", "help"} <= names
