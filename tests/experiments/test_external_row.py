"""Rows of another tool in an experiment, from the flag to the table."""

import csv
import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.experiments import config, external_row
from semicml_tf.experiments.publish import publish
from tests.support import experiments
from tests.support.experiment_data import finish, finish_classes

WHERE = {"modality_sets": (("ct", "pet"),), "labelled": ("4",), "seeds": (0, 1)}


def parse(*texts, **changes):
    return external_row.parse(texts, taken=("ours",), **{**WHERE, **changes})


def as_masks(path, folder, modality=None, name="nnU-Net"):
    """The report of a cell as `evaluate --masks` would write it, with the scores of the modality, or of the first."""
    body = json.loads(path.read_text())
    shown = modality or "ct"
    del body["run"]
    rows = [row for row in body["rows"] if row["modality"] in (shown, None)]
    changed = [{**row, "kind": "masks", "name": name, "modality": modality} for row in rows if row["modality"]]
    source = {"name": name, "modality": modality, "files": {"t0": {"": "0" * 64}}, "missing": []}
    body |= {"masks": source, "rows": [*changed, *(row for row in rows if not row["modality"])]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(body))
    return folder / "metrics.json"


def table(folder):
    with open(folder / "table.csv", encoding="utf-8") as stream:
        return {(line["row"], line["modality"]): line for line in csv.DictReader(stream)}


def shown(cells, rows, folder, **options):
    external = external_row.cells_of(rows, "test", options.pop("folds", None))
    publish([*cells, *external], folder, reference="ours", command="x", hashes={}, **options)
    return table(folder)


@pytest.fixture
def grid(tmp_path):
    """Two seeds of our row, and a folder of better scores as masks."""
    made = [finish(tmp_path, "ours", "4", seed, {"ct": [0.4, 0.5, 0.6], "pet": [0.5, 0.6, 0.7]}) for seed in (0, 1)]
    for seed in (0, 1):
        other = finish(tmp_path / "other", "x", "4", seed, {"ct": [0.6, 0.7, 0.8], "pet": [0.7, 0.8, 0.9]})
        for modality in ("ct", "pet"):
            as_masks(other.metrics_path, tmp_path / f"{modality}-seed{seed}", modality)
        as_masks(other.metrics_path, tmp_path / f"both-seed{seed}")
    return made


def test_masks_of_each_modality_fill_its_column(grid, tmp_path):
    rows = parse(f"nnU-Net: '{tmp_path}/{{modality}}-seed{{seed}}/metrics.json'")
    lines = shown(grid, rows, tmp_path / "tables")
    assert [float(lines["nnU-Net", name]["dice"]) for name in ("ct", "pet", "mean")] == pytest.approx([0.7, 0.8, 0.75])
    assert float(lines["nnU-Net", "pet"]["difference_to_reference"]) == pytest.approx(0.2)
    assert lines["nnU-Net", "pet"]["seeds_compared"] == "2" and lines["nnU-Net", "pet"]["labelled_patients"] == "4"
    text = (tmp_path / "tables" / "table.md").read_text()
    assert "| nnU-Net | masks of another tool, separate for each modality |" in text
    record = json.loads((tmp_path / "tables" / "experiment.json").read_text())
    assert [len(cell.get("masks_metrics_sha256", [])) for cell in record["cells"]] == [0, 0, 2, 2]


def test_masks_of_no_single_modality_stand_in_each_column(grid, tmp_path):
    rows = parse(f"both: {tmp_path}/both-seed{{seed}}/metrics.json")
    lines = shown(grid, rows, tmp_path / "tables")
    assert [float(lines["both", name]["dice"]) for name in ("ct", "pet", "mean")] == pytest.approx([0.7] * 3)
    assert "the method may need all modalities" in (tmp_path / "tables" / "table.md").read_text()


def test_patients_without_a_modality_are_left_out_of_its_column(tmp_path):
    ours = finish(tmp_path, "ours", "4", 0, {"ct": [0.4, 0.5, 0.6], "pet": [0.5, 0.6, 0.7]}, lacking={"pet": ["t2"]})
    body = json.loads(ours.metrics_path.read_text())
    body["rows"][1]["cases"].pop()
    ours.metrics_path.write_text(json.dumps(body))
    other = finish(tmp_path / "other", "x", "4", 0, {"ct": [0.6, 0.7, 0.8], "pet": [0.7, 0.8, 0.9]})
    as_masks(other.metrics_path, tmp_path / "both")
    rows = parse(f"both: {tmp_path}/both/metrics.json", seeds=(0,))
    lines = shown([ours], rows, tmp_path / "tables")
    assert [lines["both", name]["patients"] for name in ("ct", "pet")] == ["3", "2"]


def test_classes_have_lines_of_their_own(tmp_path):
    dice = {"wt": {"ct": [0.5, 0.6], "pet": [0.6, 0.7]}, "et": {"ct": [0.3, 0.4], "pet": [0.4, 0.5]}}
    ours = finish_classes(tmp_path, "ours", "4", 0, dice)
    as_masks(ours.metrics_path, tmp_path / "both")
    shown([ours], parse(f"both: {tmp_path}/both/metrics.json", seeds=(0,)), tmp_path / "tables")
    with open(tmp_path / "tables" / "table.csv", encoding="utf-8") as stream:
        lines = {(one["row"], one["modality"], one["class"]): float(one["dice"]) for one in csv.DictReader(stream)}
    assert lines["both", "pet", "et"] == pytest.approx(0.35) and lines["both", "ct", "mean"] == pytest.approx(0.45)


def test_masks_of_other_patients_or_of_another_modality_are_refused(grid, tmp_path):
    odd = finish(tmp_path / "odd", "x", "4", 0, {"ct": [0.6, 0.7], "pet": [0.7, 0.8]})
    as_masks(odd.metrics_path, tmp_path / "odd")
    with pytest.raises(UserError, match="other test patients"):
        shown(grid, parse(f"odd: {tmp_path}/odd/metrics.json", seeds=(0,)), tmp_path / "tables")
    with pytest.raises(UserError, match="expected masks of no single modality, got masks of ct alone"):
        shown(grid, parse(f"ct: {tmp_path}/ct-seed0/metrics.json", seeds=(0,)), tmp_path / "tables")
    as_masks(grid[0].metrics_path, tmp_path / "ct-seed5")
    as_masks(grid[0].metrics_path, tmp_path / "pet-seed5")
    with pytest.raises(UserError, match="expected masks of ct alone.*--mask_modality=ct"):
        shown(grid, parse(f"x: {tmp_path}/{{modality}}-seed5/metrics.json", seeds=(0,)), tmp_path / "tables")
    with pytest.raises(UserError, match="got those of a run"):
        shown(grid, parse(f"run: {grid[0].metrics_path}", seeds=(0,)), tmp_path / "tables")


def test_a_file_that_is_missing_is_named_and_left_out(grid, tmp_path):
    rows = parse(f"both: {tmp_path}/both-seed{{seed}}/metrics.json", seeds=(0, 7))
    lines = shown(grid, rows, tmp_path / "tables")
    assert lines["both", "ct"]["seeds"] == "1"
    assert "Not finished and left out: both with 4 (seeds 7)" in (tmp_path / "tables" / "table.md").read_text()


def test_folds_are_pooled(tmp_path):
    parts = [finish(tmp_path / str(fold), "ours", "4", 0, {"ct": [0.5], "pet": [0.6]}) for fold in (0, 1)]
    body = json.loads(parts[1].metrics_path.read_text())
    for row in body["rows"]:
        row["cases"][0]["case_id"] = "t1"
    parts[1].metrics_path.write_text(json.dumps(body))
    for fold, part in enumerate(parts):
        as_masks(part.metrics_path, tmp_path / f"fold{fold}")
    (row,) = parse(f"both: {tmp_path}/fold{{fold}}/metrics.json", seeds=(0,), has_folds=True)
    (cell,) = external_row.cells_of([row], "test", 2)
    report = external_row.read(cell, {})
    assert [len(one["cases"]) for one in report["folds"]] == [1, 1]
    assert {one["modality"]: len(one["cases"]) for one in report["rows"] if one["modality"]} == {"ct": 2, "pet": 2}
    as_masks(parts[0].metrics_path, tmp_path / "fold1")
    with pytest.raises(UserError, match="patient t0 is scored in two folds"):
        external_row.read(cell, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nnU-Net", "expected --external_row=NAME: PATH, got 'nnU-Net'"),
        ("nnU-Net: ", "expected the path of a metrics.json, got ''"),
        ("nnU-Net: a.json b.json", "expected the path of a metrics.json, got 'a.json b.json'"),
        ("nnU-Net: {seed}.json --epochs=3", "masks take no flag such as '--epochs=3'"),
        ("nnU-Net: {seed}{row}.json", "got {row}"),
        ("nnU-Net: a.json", "one file would stand for each of --seeds=0,1"),
        ("nnU-Net: {seed}.json --labelled_patients=2,4", "one file would stand for each of --labelled_patients=2,4"),
        ("nnU-Net: {seed}{fold}.json", "there are no folds"),
        ("ours: {seed}.json", "two rows have the same name, 'ours'"),
    ],
)
def test_wrong_rows(text, message):
    with pytest.raises(UserError, match=message.replace("{", "\\{")):
        parse(text)


def test_the_plan_has_the_row_and_runs_nothing_for_it(tmp_path):
    (tmp_path / "m0.json").touch()
    lines = (*experiments.ROWS, "--external_row=nnU-Net: m{seed}.json", "--reference=nnU-Net")
    plan = experiments.planned(tmp_path, *lines)
    assert [cell.row for cell in plan.external] == ["nnU-Net"] and plan.reference == "nnU-Net"
    assert "nnU-Net" not in {cell.row for cell in plan.cells}
    assert "nnU-Net: ct:pet, labelled 2, seeds 0: 0 of 1 (reference)" in plan.text()


def test_the_command_repeats_the_rows_that_the_flagfiles_lack(tmp_path):
    file = experiments.flagfile(tmp_path, *experiments.ROWS, "--external_row=first: a{seed}.json")
    made = config.ExperimentConfig(flagfile=(str(file),), output="out", external_row=("second: b{seed}.json",))
    assert made.external_row == ("first: a{seed}.json", "second: b{seed}.json")
    assert "second: b{seed}.json" in config.command(made) and "first" not in config.command(made)
