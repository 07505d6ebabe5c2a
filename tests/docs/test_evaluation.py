"""What docs/evaluation.md says is what there is."""

import dataclasses
import json
import pathlib
import re

from benchmarks import metric_references
from semicml_tf.configuration import options
from semicml_tf.evaluation import bootstrap
from semicml_tf.evaluation.config import CompareConfig, EvaluateConfig
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM
from semicml_tf.evaluation.scores import WITHOUT
from semicml_tf.reporting.config import ReportConfig

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs/evaluation.md").read_text(encoding="utf-8")


def test_every_score_is_defined():
    named = set(re.findall(r"`(\w+)`", TEXT.split("| name |")[1].split("\n\n")[0]))
    assert named - {"missed"} == {field.name for field in dataclasses.fields(CaseScore)} - {"case_id"}
    assert f"summary.{WITHOUT}" in TEXT


def test_flags_and_defaults():
    names = {one.name for config in (EvaluateConfig, CompareConfig, ReportConfig) for one in options(config)}
    assert set(re.findall(r"--(\w+)", TEXT)) - {"torch_python"} <= names
    assert f"`--surface_tolerance_mm` ({SURFACE_TOLERANCE_MM:g})" in TEXT
    assert f"{bootstrap.RESAMPLES} resamples of the patients, seed {bootstrap.SEED}" in TEXT
    assert f"fewer than {bootstrap.FEWEST} patients" in TEXT


def test_the_table_of_agreement_is_that_of_the_committed_numbers():
    lines = metric_references.table(json.loads(metric_references.FILE.read_text())).splitlines()
    for line in lines[2:]:
        # Differences of rounding are another machine's own.
        told = line if "surfaces of voxels" in line else "|".join(line.split("|")[:4])
        assert told in TEXT
    assert sum(line.count("|") == 6 for line in TEXT.splitlines() if re.match(r"\| \w+ \| (MONAI|Simple)", line)) == (
        len(lines) - 2
    )


def test_every_file_that_it_names():
    for path in re.findall(r"`((?:tests|benchmarks)/[\w./]+)`", TEXT):
        assert (REPOSITORY / path).exists(), path
