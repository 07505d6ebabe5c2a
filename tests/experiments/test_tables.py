"""An experiment's tables from scores whose means, tests and shares are known by hand."""

import csv
import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.experiments import markdown, results, summary
from semicml_tf.experiments.publish import publish
from semicml_tf.experiments.run_spec import Cell
from tests.support.experiment_data import PAIR, finish, finish_classes, write_labelled

COMMAND = "python -m semicml_tf.experiment --flagfile=a.flags"


def _both(dice):
    return {"ct": list(dice), "pet": [value + 0.1 for value in dice]}


def _grid(root):
    """Four patients. Supervised with 2, 8 and all 32 labels scores .4, .6, .8; ours with 2 scores .5; other .3."""
    data = write_labelled(root / "data", 32)
    offsets = (-0.09, -0.03, 0.02, 0.1)
    cells = []
    for row, labelled, mean in (
        ("supervised", "2", 0.4),
        ("ours", "2", 0.5),
        ("other", "2", 0.3),
        ("supervised", "8", 0.6),
        ("supervised", "all", 0.8),
    ):
        for seed, shift in ((1, -0.02), (2, 0.02)):
            dice = [mean + shift + offset for offset in offsets]
            cells.append(
                finish(root, row, labelled, seed, _both(dice), dataset=data, flags=(f"--method={row}", "--steps=9"))
            )
    return cells


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return _grid(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def output(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("output") / "phantom"
    hashes = {"a.flags": "f1a65"}
    publish(cells, folder, reference="ours", baseline="supervised", command=COMMAND, hashes=hashes)
    return folder


def _table(folder):
    with open(folder / "table.csv", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _line(folder, row, labelled, modality):
    wanted = {"row": row, "labelled": labelled, "modality": modality}
    (line,) = (line for line in _table(folder) if wanted.items() <= line.items())
    return line


def test_means_and_deviations(output):
    line = _line(output, "supervised", "2", "ct")
    assert float(line["dice"]) == pytest.approx(0.4)
    assert float(line["dice_sd_seeds"]) == pytest.approx(0.02 * 2**0.5)
    # Offsets' sample sd: (81 + 9 + 4 + 100) / 3 = 64.67, in hundredths.
    assert float(line["dice_sd_patients"]) == pytest.approx((194 / 3) ** 0.5 / 100)
    assert (line["seeds"], line["patients"], line["labelled_patients"]) == ("2", "4", "2")
    assert float(_line(output, "supervised", "2", "mean")["dice"]) == pytest.approx(0.45)
    assert float(line["hd95_mm"]) == 10.0 and float(line["assd_mm"]) == 1.0 and float(line["missed_rate"]) == 0.0


def test_differences_to_the_reference(output):
    # All four differ with one sign: p = 2 / 2^4; two comparisons, so Holm doubles both.
    for row, difference in (("supervised", -0.1), ("other", -0.2)):
        line = _line(output, row, "2", "pet")
        assert float(line["difference_to_reference"]) == pytest.approx(difference)
        assert float(line["p_wilcoxon"]) == pytest.approx(0.125)
        assert float(line["p_holm"]) == pytest.approx(0.25)
        assert (line["patients_compared"], line["patients_differing"]) == ("4", "4")
        assert (line["seeds_compared"], line["seeds_reference_wins"]) == ("2", "2")
        assert line["patients_reference_wins"] == "4"
        assert line["difference_low"] == line["difference_high"] == ""  # four patients are too few
    for row, labelled in (("ours", "2"), ("supervised", "8"), ("supervised", "all")):
        assert _line(output, row, labelled, "ct")["p_wilcoxon"] == ""


def test_gap_closed_and_labels_saved(output):
    ours, other = _line(output, "ours", "2", "ct"), _line(output, "other", "2", "ct")
    assert float(ours["gap_closed"]) == pytest.approx(0.25)
    assert float(other["gap_closed"]) == pytest.approx(-0.25)
    assert float(ours["labels_needed"]) == pytest.approx(4.0) and ours["labels_bound"] == ""
    assert float(ours["labels_saved"]) == pytest.approx(2.0)
    assert (float(other["labels_needed"]), other["labels_bound"]) == (2.0, "<")
    assert _line(output, "supervised", "all", "ct")["labelled_patients"] == "32"
    assert _line(output, "supervised", "8", "ct")["labels_needed"] == ""


def test_no_network_baselines_are_once_per_set_of_modalities_at_the_end(output):
    lines = _table(output)
    assert [line["row"] for line in lines if line["kind"] == "blind"] == ["blind ellipsoid"] * 3 + ["pet threshold"] * 3
    assert all(line["kind"] == "blind" for line in lines[-6:])
    assert float(_line(output, "pet threshold", "", "pet")["dice"]) == 0.375


def test_scores_hold_every_patient(output, cells):
    with open(output / "scores.csv", encoding="utf-8") as stream:
        scores = list(csv.DictReader(stream))
    networks = [score for score in scores if score["kind"] == "network"]
    assert len(networks) == len(cells) * 2 * 4
    assert len(scores) - len(networks) == 2 * 4
    wanted = {"row": "ours", "seed": "2", "modality": "pet", "patient": "t3", "modalities": "ct+pet", "labelled": "2"}
    (one,) = (score for score in networks if wanted.items() <= score.items())
    assert float(one["dice"]) == pytest.approx(0.72) and one["outcome"] == "both present"


def test_markdown_shows_the_best_and_how_to_make_it_again(output):
    text = (output / "table.md").read_text(encoding="utf-8")
    assert "| ours | 2 | 2 | **.500 ± .028** | 10.0 | 1.0 | 0.0 % | **.600 ± .028** |" in text
    assert "| supervised | all (32) | 2 | .800 ± .028 |" in text
    assert "| supervised | 2 | 2 |" + " -.100 | – | .250 | 4/4 | 2/2 |" * 3 in text
    assert "| ours | 2 | 25 % | 25 % | 25 % | 4.0 (+2.0) |" in text
    assert "| other | 2 | -25 % | -25 % | -25 % | < 2.0 (< +0.0) |" in text
    assert "| ours | `--method=ours --steps=9` |" in text
    assert COMMAND in text and "- a.flags: `f1a65`" in text and "Seeds: 1, 2;" in text
    assert "blind ellipsoid: the ellipsoid inscribed 7 mm inside" in text
    assert "with 2 labelled patients and seed 1." in text


def test_the_record_holds_cells_and_lines(output, cells):
    body = json.loads((output / "experiment.json").read_text(encoding="utf-8"))
    assert body["command"] == COMMAND and body["reference"] == "ours" and body["missing"] == []
    assert len(body["cells"]) == len(cells)
    first = body["cells"][0]
    assert first["flags"] == ["--method=supervised", "--steps=9"] and first["steps"] == 100
    assert (first["run_hash"], first["data_hash"]) == ("run-supervised-1", "data-2-1")
    assert first["best_validation"]["pet"]["dice"] == 0.5
    assert body["all_labelled"] == {"ct+pet": 32} and body["hashes"]["a.flags"] == "f1a65"
    assert len(body["table"]) == len(_table(output))
    assert body["table"][0]["by_seed"] == pytest.approx([0.38, 0.42])


def test_the_same_cells_give_the_same_files(output, cells, tmp_path):
    hashes = {"a.flags": "f1a65"}
    publish(cells, tmp_path, reference="ours", baseline="supervised", command=COMMAND, hashes=hashes)
    names = sorted(path.name for path in output.iterdir())
    assert names == ["curve.png", "experiment.json", "scores.csv", "table.csv", "table.md", "table.png"]
    for name in names:
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes()


def test_sets_of_modalities_have_tables_and_corrections_of_their_own(cells, tmp_path):
    more = [
        finish(tmp_path, row, "2", 1, {"ct": [mean, mean + 0.1], "mr": [mean, mean + 0.1]})
        for row, mean in (("ours", 0.5), ("other", 0.3))
    ]
    found = summary.lines(results.read([*cells, *more]), "ours", "supervised")
    (line,) = (line for line in found if (line.modalities, line.row, line.modality) == (("ct", "mr"), "other", "mr"))
    assert line.against.p == line.against.p_holm == 0.5
    assert line.gap is None and line.saved is None
    assert {line.against.p_holm for line in found if line.modalities == PAIR and line.against} == {0.25}


def test_numbers_as_text():
    assert [markdown.number(value) for value in (0.7124, 1.0, 0.0, -0.034, -0.0001, 0.9996)] == [
        ".712", "1.000", ".000", "-.034", ".000", "1.000",
    ]  # fmt: skip
    assert [markdown.signed(value) for value in (0.0121, -0.5, 0.0001)] == ["+.012", "-.500", ".000"]
    assert [markdown.probability(value) for value in (0.0004, 0.0312, 1.0)] == ["<.001", ".031", "1.000"]


def test_a_cell_without_scores_is_missing(cells, tmp_path):
    waiting = Cell("ours", PAIR, "8", 1, tmp_path / "waiting")
    found = results.read([*cells, waiting])
    assert found.missing == (waiting,) and len(found.done) == len(cells)


def _classes(root):
    """Two classes: wt scores as in `_grid`, tc .2 less in every patient."""
    cells = []
    for row, mean in (("supervised", 0.4), ("ours", 0.5)):
        for seed in (1, 2):
            dice = [mean + offset for offset in (-0.1, -0.02, 0.02, 0.1)]
            classes = {"wt": _both(dice), "tc": _both([one - 0.2 for one in dice])}
            cells.append(finish_classes(root, row, "2", seed, classes))
    return cells


def test_classes_have_tables_of_their_own_beside_their_mean(tmp_path):
    publish(_classes(tmp_path / "cells"), tmp_path / "out", reference="ours", command=COMMAND, hashes={})
    lines = [line for line in _table(tmp_path / "out") if line["row"] == "ours" and line["modality"] == "ct"]
    assert {line["class"]: round(float(line["dice"]), 9) for line in lines} == {"mean": 0.4, "wt": 0.5, "tc": 0.3}
    text = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "### tc, of ct + pet\n\n| method | labelled | seeds | ct DSC |" in text
    assert "| ours | 2 | 2 | **.300 ± .000** |" in text and "| ours | 2 | 2 | **.400 ± .000** |" in text
    assert text.count("| supervised | 2 | 2 | -.100 |") == 3
    with open(tmp_path / "out" / "scores.csv", encoding="utf-8") as stream:
        scores = list(csv.DictReader(stream))
    assert len(scores) == 3 * (4 * 2 * 4 + 2 * 4) and {score["class"] for score in scores} == {"mean", "wt", "tc"}


def test_other_classes_do_not_stand_in_one_table(tmp_path):
    cells = [*_classes(tmp_path), finish(tmp_path, "plain", "2", 1, _both([0.5] * 4))]
    with pytest.raises(UserError, match="other classes"):
        results.read(cells)
