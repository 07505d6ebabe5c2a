"""Scores of 50 random mask pairs beside those that MONAI and SimpleITK gave (`benchmarks.metric_references`)."""

import json
import math

import pytest

from benchmarks import mask_pairs
from benchmarks.metric_references import FILE, VOXELS, ours

# Theirs are float32, rounded to seven digits in the file.
REL = 2e-6


@pytest.fixture(scope="module")
def body():
    return json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def scored(body):
    """(pair, row of the file, this package's numbers) of each pair."""
    pairs = mask_pairs.pairs(body["seed"], len(body["pairs"]))
    return [(pair, row, ours(pair, body["surface_tolerance_mm"])) for pair, row in zip(pairs, body["pairs"])]


def test_the_pairs_are_those_of_the_file(body):
    pairs = mask_pairs.pairs(body["seed"], len(body["pairs"]))
    assert len(pairs) == 50
    assert mask_pairs.digest(pairs) == body["digest"], f"the pairs changed: {body['command']}"
    assert {pair.kind for pair in pairs} == set(mask_pairs.KINDS)
    sides = [
        mask.any() and any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1))
        for pair in pairs
        for mask in (pair.prediction, pair.truth)
    ]
    assert sum(sides) >= 20  # touch the volume's border
    assert sum(len(set(pair.spacing_mm)) > 1 for pair in pairs) >= 40


@pytest.mark.parametrize("whose", ["monai", "itk"])
def test_measures_of_the_same_definition_are_equal(scored, whose):
    compared = {}
    for pair, row, own in scored:
        for measure, value in row[whose].items():
            if measure.startswith(VOXELS):
                continue
            if value is None:
                # Theirs has no number for one empty mask: ours is the policy's, 0 or none, never a good one.
                assert measure in ("ppv", "sensitivity") and own[measure] in (None, 0.0), pair.kind
                continue
            assert own[measure] == pytest.approx(value, rel=REL, abs=1e-9), (pair.kind, measure)
            compared[measure] = compared.get(measure, 0) + 1
    common = {"dice", "iou", "ppv", "sensitivity", "hd_max_mm"}
    lesions = {f"lesions_{name}" for name in ("true", "predicted", "found", "missed", "false")}
    expected = {
        "monai": common | {"hd95_mm", "assd_mm", "surface_dice"},
        "itk": common | lesions | {"truth_ml", "prediction_ml"},
    }
    assert set(compared) == expected[whose]
    assert min(compared.values()) >= 35


def test_distances_of_voxel_surfaces_differ_by_at_most_a_voxel(scored):
    """Their surfaces are voxels with a face on the background, at their centres; ours corners amid mixed voxels.

    Each such voxel has such a corner, and each corner such a voxel, half a voxel's diagonal h away. So a distance
    changes by at most h where it begins and h where it ends, and the largest one by at most 2 h.
    """
    compared = 0
    for pair, row, own in scored:
        for whose in ("monai", "itk"):
            if f"{VOXELS}hd_max_mm" not in row[whose]:
                continue
            largest = row[whose][f"{VOXELS}hd_max_mm"]
            diagonal = math.hypot(*pair.spacing_mm)
            assert abs(own["hd_max_mm"] - largest) <= diagonal * (1 + REL), (pair.kind, whose)
            # Means and percentiles weigh area here and voxels there: only the largest distance bounds them.
            for measure in ("hd95_mm", "assd_mm"):
                assert own[measure] <= largest + diagonal, (pair.kind, whose)
                assert row[whose][VOXELS + measure] <= own["hd_max_mm"] + diagonal, (pair.kind, whose)
            compared += 1
    assert compared >= 70


def test_the_references_agree_on_voxel_surfaces(scored):
    """This makes it unlikely that one of them was called in a wrong way."""
    for pair, row, _ in scored:
        for measure in ("hd_max_mm", "hd95_mm", "assd_mm"):
            if VOXELS + measure in row["monai"]:
                expected = row["itk"][VOXELS + measure]
                assert row["monai"][VOXELS + measure] == pytest.approx(expected, rel=1e-5), pair.kind
