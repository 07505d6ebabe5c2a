"""The fingerprint of a dataset: closed forms over made-up cases, and what of it needs no label."""

import dataclasses
import json
import random

import numpy as np
import pytest

from semicml_tf.conversion.planning.fingerprint import FILE_NAME, Fingerprint, fingerprint
from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.conversion.verification.statistics import image_facts, label_facts
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.system import atomic_files


def report(index, *, labelled=False, modalities=("ct", "pet"), empty=False):
    """Case `index`: 10 + index slices of 2 mm, a body of value `index` in all but its outermost columns."""
    grid = Grid((8, 6, 10 + index), np.diag([-1.5, -1.0, 2.0, 1.0]))
    volume = np.full(grid.shape, -1000, np.float32)
    volume[1:-1] = index
    images = {name: image_facts(volume, grid, "hu") for name in modalities}
    label = None
    if labelled:
        mask = np.zeros(grid.shape, np.uint8)
        mask[2 : 2 if empty else 4, 2:4, 1 : 3 + index] = 1
        label = label_facts(mask, grid, {name: (volume, grid) for name in modalities})
    return CaseReport(f"c{index}", (), images, label, {})


def test_summaries_by_closed_form():
    found = fingerprint([report(index) for index in range(5)])
    assert (found.cases, found.labelled, found.foreground) == (5, 0, None)
    ct = found.images["ct"]
    assert ct["cases"] == 5 and ct["integral"] == 1
    assert ct["shape"]["slice"] == {"min": 10, "p5": 10.2, "p25": 11, "median": 12, "p75": 13, "p95": 13.8, "max": 14}
    assert ct["extent_mm"]["slice"]["median"] == 24 and ct["spacing_mm"]["column"]["max"] == 1.5
    assert ct["body_extent_mm"]["column"]["median"] == 9 and ct["body_extent_mm"]["row"]["median"] == 6
    assert ct["body_fraction"]["median"] == 0.75
    assert ct["percentiles"]["99.5"]["max"] == ct["mean"]["max"] == ct["max"]["max"] == 4
    assert ct["min"]["max"] == -1000


def test_foreground_comes_from_labelled_cases_alone():
    reports = [report(0, labelled=True), report(2, labelled=True), report(4), report(1, labelled=True, empty=True)]
    found = fingerprint(reports).foreground
    assert (found["cases"], found["empty"]) == (2, 1)
    assert found["volume_ml"]["median"] == pytest.approx((8 + 16) / 2 * 0.003)
    assert found["largest_extent_mm"]["max"] == 8
    assert (
        found["intensity"]["ct"]["mean"]["median"] == 1 and found["intensity"]["pet"]["percentiles"]["50"]["max"] == 2
    )
    assert fingerprint(reports).images == fingerprint([report(index) for index in (0, 2, 4, 1)]).images


def test_order_does_not_matter_and_json_is_the_way_there_and_back(tmp_path):
    reports = [report(index, labelled=index < 3) for index in range(6)]
    first = fingerprint(reports)
    random.Random(0).shuffle(reports)
    assert json.dumps(fingerprint(reports).to_json()) == json.dumps(first.to_json())
    atomic_files.write_json(tmp_path / FILE_NAME, first.to_json())
    assert Fingerprint.load(tmp_path) == first
    with pytest.raises(UserError, match="fingerprint"):
        Fingerprint.load(tmp_path / "none")


def test_a_missing_modality_and_unreadable_cases_do_not_count():
    found = fingerprint([report(0), report(4, modalities=("ct",)), CaseReport("bad", (), {}, None, {})])
    assert found.cases == 3
    assert found.images["ct"]["cases"] == 2 and found.images["pet"]["cases"] == 1
    assert found.images["pet"]["mean"]["max"] == 0


def test_table_tells_medians():
    table = fingerprint([report(index, labelled=index < 2) for index in range(5)]).table()
    lines = table.splitlines()
    assert lines[0].split()[:2] == ["modality", "cases"]
    assert lines[1].startswith("ct") and "2 x 1 x 1.5" in lines[1] and "12 x 6 x 8" in lines[1]
    assert "2 labelled cases (0 more without)" in table
    assert all(len(line) < 120 for line in lines)


def test_nothing_but_background_has_a_table_too():
    grid = Grid((4, 4, 4), np.eye(4))
    facts = image_facts(np.zeros(grid.shape, np.float32), grid, "percentile")
    found = fingerprint([CaseReport("c", (), {"t2": facts}, None, {})])
    assert found.images["t2"]["body_extent_mm"] == {} and found.images["t2"]["mean"] is None
    assert "t2" in found.table()
    json.dumps(found.to_json(), allow_nan=False)


def test_classes_have_their_own_numbers_of_voxels():
    def with_classes(index, **classes):
        one = report(index, labelled=True)
        return dataclasses.replace(one, label={**one.label, "classes": classes})

    found = fingerprint([with_classes(0, wt=8, et=2), with_classes(2, wt=16, et=0)])
    classes = found.foreground["classes"]
    assert (classes["wt"]["cases"], classes["wt"]["voxels"]["median"]) == (2, 12)
    assert (classes["et"]["cases"], classes["et"]["voxels"]["max"]) == (1, 2)
    assert "et in 1 labelled cases: 2 (2 to 2) voxels" in found.table()
