"""The runs of a folder and their names."""

import shutil

import pytest

from semicml_tf.diagnostics.run_selection import select
from semicml_tf.errors import UserError
from semicml_tf.runs.ensemble import write_ensemble
from tests.support.run_folders import make_run


def test_a_run_is_itself(tmp_path):
    run = make_run(tmp_path)
    assert {name: one.folder for name, one in select(run).items()} == {"run": run}


def test_an_ensemble_and_its_cross_validation_have_its_runs(tmp_path):
    runs = [make_run(tmp_path / "cv" / f"fold-{number}") for number in range(2)]
    write_ensemble(tmp_path / "cv" / "ensemble", runs)
    for folder in (tmp_path / "cv", tmp_path / "cv" / "ensemble"):
        assert {name: one.folder for name, one in select(folder).items()} == {
            "fold-0": runs[0].resolve(),
            "fold-1": runs[1].resolve(),
        }


def test_a_row_of_an_experiment_has_a_run_for_each_draw(tmp_path):
    made = make_run(tmp_path)
    for draw in ("ct-pet-4-seed0", "ct-pet-4-seed1"):
        for row in ("semi-cml", "supervised"):
            shutil.copytree(made, tmp_path / "table" / "runs" / draw / row)
    assert list(select(tmp_path / "table", "semi-cml")) == ["ct-pet-4-seed0", "ct-pet-4-seed1"]
    with pytest.raises(
        UserError, match="expected --experiment_row of an experiment, among semi-cml, supervised, got 'prel'"
    ):
        select(tmp_path / "table", "prel")
    with pytest.raises(UserError, match="expected --experiment_row of this experiment.*semi-cml, supervised"):
        select(tmp_path / "table")
    with pytest.raises(UserError, match="expected a run's folder"):
        select(tmp_path / "none")
