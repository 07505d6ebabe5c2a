"""Grids that are not finished, and runs that cannot be compared."""

import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.experiments import results, summary
from semicml_tf.experiments.publish import publish
from semicml_tf.experiments.run_spec import Cell
from tests.support.experiment_data import PAIR, finish, write_labelled

GOOD, POOR = [0.6, 0.7, 0.8], [0.1, 0.2, 0.3]


def _same(dice):
    return {"ct": dice, "pet": dice}


def _publish(cells, output, **changes):
    publish(cells, output, **({"reference": "ours", "command": "again", "hashes": {}} | changes))
    return (output / "table.md").read_text(encoding="utf-8")


def _find(lines, row, modality="ct", labelled="4"):
    (line,) = (line for line in lines if (line.row, line.modality, line.labelled) == (row, modality, labelled))
    return line


def test_comparisons_are_over_the_seeds_in_common(tmp_path):
    cells = [
        finish(tmp_path, "ours", "4", 1, _same(POOR)),
        finish(tmp_path, "ours", "4", 2, _same(GOOD)),
        finish(tmp_path, "other", "4", 2, _same([0.5, 0.5, 0.5])),
        Cell("other", PAIR, "4", 1, tmp_path / "waiting"),
    ]
    line = _find(summary.lines(results.read(cells), "ours", None), "other")
    # With seed 1, where ours is poor, nothing is compared.
    assert line.against.difference == pytest.approx(-0.2)
    assert (line.against.seeds, line.against.reference_wins, line.seeds) == (1, 1, (2,))
    text = _publish(cells, tmp_path / "out")
    assert "Not finished and left out: other with 4 (seeds 1)." in text
    assert "| other | 4 | 1 | -.200 |" in text
    record = json.loads((tmp_path / "out" / "experiment.json").read_text(encoding="utf-8"))
    assert [(cell["row"], cell["seed"]) for cell in record["missing"]] == [("other", 1)]
    assert not (tmp_path / "out" / "curve.png").exists()


def test_without_a_seed_in_common_nothing_is_compared(tmp_path):
    cells = [finish(tmp_path, "ours", "4", 1, _same(GOOD)), finish(tmp_path, "other", "4", 2, _same(POOR))]
    assert _find(summary.lines(results.read(cells), "ours", None), "other").against is None
    assert "'ours' has no run with the same number" in _publish(cells, tmp_path / "out")


def test_the_gap_is_over_the_seeds_that_all_three_have(tmp_path):
    data = write_labelled(tmp_path / "data", 16)
    cells = [
        finish(tmp_path, "sup", "4", 1, _same([0.2, 0.2, 0.2])),
        finish(tmp_path, "sup", "4", 2, _same([0.4, 0.4, 0.4])),
        finish(tmp_path, "sup", "all", 2, _same([0.8, 0.8, 0.8]), dataset=data),
        finish(tmp_path, "ours", "4", 1, _same([0.2, 0.2, 0.2])),
        finish(tmp_path, "ours", "4", 2, _same([0.6, 0.6, 0.6])),
    ]
    line = _find(summary.lines(results.read(cells), "ours", "sup"), "ours")
    assert (line.gap.closed, line.gap.seeds) == (pytest.approx(0.5), 1)
    # Half of the gap is half of the logarithm from 4 to 16.
    assert (line.saved.needed, line.saved.saved, line.saved.seeds) == (pytest.approx(8.0), pytest.approx(4.0), 1)


def test_all_without_its_data_has_a_gap_but_is_not_on_the_curve(tmp_path):
    cells = [
        finish(tmp_path, "sup", "4", 1, _same([0.4, 0.4, 0.4])),
        finish(tmp_path, "sup", "all", 1, _same([0.8, 0.8, 0.8])),
        finish(tmp_path, "ours", "4", 1, _same([0.6, 0.6, 0.6])),
    ]
    line = _find(summary.lines(results.read(cells), "ours", "sup"), "ours")
    assert line.gap.closed == pytest.approx(0.5) and line.saved is None
    assert "left out of the cost curve" in _publish(cells, tmp_path / "out", baseline="sup")
    assert not (tmp_path / "out" / "curve.png").exists()


def test_the_curve_of_an_earlier_grid_is_removed(tmp_path):
    several = [finish(tmp_path, "ours", labelled, 1, _same(GOOD)) for labelled in ("2", "4")]
    _publish(several, tmp_path / "out")
    assert (tmp_path / "out" / "curve.png").exists()
    _publish(several[:1], tmp_path / "out")
    assert not (tmp_path / "out" / "curve.png").exists()


def test_a_miss_is_counted_and_costs(tmp_path):
    cells = [
        finish(tmp_path, "ours", "4", 1, _same([0.0, 0.6, 0.6])),
        finish(tmp_path, "ours", "4", 2, _same([0.6, 0.6, 0.6])),
    ]
    metrics = _find(summary.lines(results.read(cells), "ours", None), "ours").metrics
    assert metrics["missed"].mean == pytest.approx(1 / 6)
    assert metrics["hd95_mm"].mean == pytest.approx((100 + 5 * 10) / 6)


def test_patients_without_a_modality_are_left_out_of_the_mean_over_modalities(tmp_path):
    cell = finish(tmp_path, "ours", "4", 1, {"ct": [0.2, 0.4, 0.9], "pet": [0.4, 0.6]})
    lines = summary.lines(results.read([cell]), "ours", None)
    assert _find(lines, "ours", "ct").metrics["dice"].patients == 3
    assert _find(lines, "ours", "mean").metrics["dice"].patients == 2
    assert _find(lines, "ours", "mean").metrics["dice"].mean == pytest.approx(0.4)
    assert "Patients of partition 'test': ct 3, pet 2, mean 2" in _publish([cell], tmp_path / "out")


def test_other_test_patients_are_refused(tmp_path):
    cells = [finish(tmp_path, "ours", "4", 1, _same(GOOD)), finish(tmp_path, "ours", "4", 2, _same([*GOOD, 0.9]))]
    with pytest.raises(UserError, match=r"ours-4-2.*other test patients \(ct: t3 in one only\)"):
        _publish(cells, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_policy_is_refused(tmp_path):
    cells = [
        finish(tmp_path, "ours", "4", 1, _same(GOOD)),
        finish(tmp_path, "other", "4", 1, _same(GOOD), policy={"missed": "HD95 0"}),
    ]
    with pytest.raises(UserError, match="other policy"):
        results.read(cells)


def test_another_truth_under_the_same_names_is_refused(tmp_path):
    cells = [finish(tmp_path, row, "4", 1, _same(GOOD)) for row in ("ours", "other")]
    path = cells[1].metrics_path
    path.write_text(path.read_text(encoding="utf-8").replace('"truth_ml": 5.0', '"truth_ml": 5.5'))
    with pytest.raises(UserError, match=r"other annotators' masks \(ct\)"):
        results.read(cells)


def test_a_duplicate_cell_is_refused(tmp_path):
    cell = finish(tmp_path, "ours", "4", 1, _same(GOOD))
    with pytest.raises(UserError, match="'ours' with 4 labelled patients and seed 1 is repeated"):
        results.read([cell, cell])


def test_scores_of_other_modalities_are_refused(tmp_path):
    cell = finish(tmp_path, "ours", "4", 1, _same(GOOD))
    with pytest.raises(UserError, match="expected scores of ct and mr, got ct, pet"):
        results.read([Cell("ours", ("ct", "mr"), "4", 1, cell.folder)])


def test_all_must_be_the_same_number_for_every_seed(tmp_path):
    cells = [
        finish(tmp_path, "sup", "all", seed, _same(GOOD), dataset=write_labelled(tmp_path / f"data{seed}", 10 + seed))
        for seed in (1, 2)
    ]
    with pytest.raises(UserError, match="'all' are 12 labelled patients here and 11"):
        results.read(cells)


@pytest.mark.parametrize("changes", [{"reference": "us"}, {"baseline": "us"}])
def test_an_unknown_row_is_an_error_that_lists_the_rows(tmp_path, changes):
    cells = [finish(tmp_path, row, "4", 1, _same(GOOD)) for row in ("ours", "other")]
    with pytest.raises(UserError, match="one of the rows ours, other, got 'us'"):
        _publish(cells, tmp_path / "out", **changes)


def test_an_experiment_without_finished_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no run of this experiment is finished"):
        results.read([Cell("ours", PAIR, "4", 1, tmp_path / "waiting")])
