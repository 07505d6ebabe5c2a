"""`python -m semicml_tf.evaluate` on a tiny dataset and run."""

import csv
import dataclasses
import itertools
import json
import shlex
import shutil
import types

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import comparison, data_provenance, job, overlay
from semicml_tf.evaluation.baseline_margin import shortfalls
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.labels import LESION
from semicml_tf.reporting import headline
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import cpu
from tests.support.evaluation_data import (
    NORMALISATION,
    ball,
    band_network,
    oblique_grid,
    patient,
    write_dataset,
    write_run,
)

COMMAND = "semicml_tf.evaluate"


def _evaluate(*arguments):
    commandline.call(COMMAND, [str(argument) for argument in arguments])


def _compare(*arguments):
    commandline.call("semicml_tf.compare", [str(argument) for argument in arguments])


def _partitions():
    native = oblique_grid()
    # Off the axis of the flipped rows, where the distractor lies.
    spots = {"l0": (14, 12, 7), "l1": (10, 10, 5), "t0": (17, 12, 8), "t1": (10, 13, 6)}
    records = {name: patient(name, ball(native, spot, 6.5), native) for name, spot in spots.items()}
    empty = patient("t2", np.zeros(native.shape, np.uint8), native)
    return {"labelled": [records["l0"], records["l1"]], "test": [records["t0"], records["t1"], empty]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    info = write_dataset(folder / "data", _partitions())
    write_run(folder / "run", info)
    return folder


@pytest.fixture
def study(made, tmp_path):
    """A copy of the run, so that tests cannot see each other's outputs."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def evaluated(made):
    """The run, evaluated on its test patients; to be read and copied only."""
    shutil.copytree(made / "run", made / "evaluated")
    _evaluate(made / "evaluated")
    return made / "evaluated"


@pytest.fixture
def skilled(monkeypatch):
    monkeypatch.setattr(Run, "network", lambda self, modality: band_network())


def _refuse_constant(text):
    raise AssertionError(f"{text} is no JSON")


def _metrics(run, partition="test"):
    return json.loads(
        (run / "evaluation" / partition / "metrics.json").read_text(encoding="utf-8"), parse_constant=_refuse_constant
    )


def test_a_run_without_skill_gives_every_output(study, made, capsys):
    _evaluate(study)
    out = study / "evaluation" / "test"
    assert sorted(p.name for p in out.iterdir()) == [
        "cases",
        "metrics.csv",
        "metrics.json",
        "overlays.png",
        "table.md",
        "table.txt",
    ]
    body = _metrics(study)
    names = ["ct", "pet", "blind ellipsoid", next(n for n in body["blind"] if n.endswith("threshold"))]
    assert [row["name"] for row in body["rows"]] == names
    assert [row["kind"] for row in body["rows"]] == ["network", "network", "blind", "blind"]
    assert body["run"]["run_hash"] == "0123456789abcdef"
    assert body["dataset"]["data_hash"] == body["run"]["data_hash"]
    assert shlex.split(body["command"])[:3] == ["python", "-m", "semicml_tf.evaluate"]
    assert body["processor"] == cpu.processor()
    for row in body["rows"]:
        assert [case["case_id"] for case in row["cases"]] == ["t0", "t1", "t2"]
    with open(out / "metrics.csv") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 4 * 3
    assert {line["row"] for line in lines} == set(names)
    printed = capsys.readouterr().out
    assert (out / "table.txt").read_text(encoding="utf-8") in printed
    assert str(out / "overlays.png") in printed
    assert "blind ellipsoid" in (out / "table.md").read_text(encoding="utf-8")
    assert (out / "overlays.png").read_bytes().startswith(b"\x89PNG")
    index = json.loads((out / "cases" / "index.json").read_text(encoding="utf-8"))
    assert {entry["case_id"] for entry in index["cases"]} == {"t0", "t1", "t2"} and index["labelled_patients"] == 2
    assert all(
        (out / "cases" / entry["folder"] / name).is_file() for entry in index["cases"] for name in entry["volumes"]
    )


def test_a_perfect_network_beats_the_no_network_baselines(study, skilled):
    _evaluate("--run", study, "--require_margin=0.1")
    body = _metrics(study)
    for row in body["rows"][:2]:
        assert [case["dice"] for case in row["cases"]] == [1.0, 1.0, 1.0]
        assert row["summary"]["missed"] == row["summary"]["false_alarms"] == 0
        assert row["summary"]["ppv"]["n"] == 2  # undefined where rightly nothing is predicted
    # The patient without lesion: a blind row draws one all the same.
    assert all(row["summary"]["false_alarms"] == 1 for row in body["rows"][2:])
    assert shortfalls(body, 0.1) == []


def test_requiring_a_margin_fails_in_one_line_after_writing(study, capsys):
    with pytest.raises(SystemExit) as left:
        commandline.run(COMMAND, [str(study), "--require_margin=0.9"])
    assert left.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("semicml_tf.evaluate: error:") and "ct scores DSC" in last and "short of" in last
    assert (study / "evaluation" / "test" / "metrics.json").is_file()


def test_the_missing_amount_is_named():
    def row(name, kind, mean):
        cases = [{"case_id": "a", "dice": mean - 0.1}, {"case_id": "b", "dice": mean + 0.1}]
        return {"name": name, "kind": kind, "modality": name, "cases": cases}

    rows = [row("ct", "network", 0.55), row("pet", "network", 0.8), row("blind ellipsoid", "blind", 0.5)]
    assert shortfalls({"rows": rows}, 0.04) == []
    assert shortfalls({"rows": rows}, 0.1) == ["ct scores DSC 0.550, 0.050 short of 'blind ellipsoid' (0.500) + 0.1"]


def test_the_function_gives_the_numbers_of_the_command(evaluated):
    first = _metrics(evaluated)
    result = job.evaluate(EvaluateConfig(run=evaluated))
    assert _metrics(evaluated) == first
    assert result.metrics_file == evaluated / "evaluation" / "test" / "metrics.json" and result.problem is None
    means = {row["modality"]: row["summary"]["hd95_mm"]["mean"] for row in first["rows"][:2]}
    assert {name: scores["hd95_mm"] for name, scores in result.scores.items()} == means
    with pytest.raises(UserError, match="choose_postprocessing writes no scores"):
        job.evaluate(EvaluateConfig(run=evaluated, choose_postprocessing=True))


def test_an_output_folder_with_other_things_is_left_alone(study, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="holds something else"):
        _evaluate(study, f"--output={tmp_path / 'precious'}")
    assert (tmp_path / "precious" / "thesis.tex").read_text(encoding="utf-8") == "x"


@pytest.fixture(scope="module")
def other(made):
    """The same test patients, one labelled patient fewer: another hash."""
    partitions = _partitions()
    return write_dataset(made / "other", {**partitions, "labelled": partitions["labelled"][:1]})


def test_other_data_are_refused_unless_allowed(study, other):
    with pytest.raises(UserError, match="are not those that the run was trained on"):
        _evaluate(study, f"--dataset={other.root}")
    _evaluate(study, f"--dataset={other.root}", "--allow_other_data")
    assert "other data" in _metrics(study)["notes"][0]
    assert _metrics(study)["dataset"]["data_hash"] == other.data_hash


def test_patients_whose_labels_the_run_has_seen_are_named(study, made):
    partitions = _partitions()
    swapped = write_dataset(made / "swapped", {"labelled": partitions["test"][:2], "test": partitions["labelled"]})
    _evaluate(study, f"--dataset={swapped.root}", "--allow_other_data")
    assert "has seen cases named l0, l1" in _metrics(study)["notes"][0]


def test_other_spacing_is_refused_even_if_allowed(study, made):
    info = write_dataset(made / "coarse", _partitions(), spacing_mm=(3.0, 3.0, 3.0))
    with pytest.raises(UserError, match="expected the spacing_mm that the run was trained with"):
        _evaluate(study, f"--dataset={info.root}", "--allow_other_data")


def test_other_modalities_are_refused(study, made):
    renamed = {"t2": NORMALISATION["ct"], "t1": NORMALISATION["pet"]}
    info = write_dataset(
        made / "mr", _partitions(), modalities=("t2", "t1"), reference_modality="t2", normalisation=renamed
    )
    with pytest.raises(UserError, match="expected the run's modalities ct, pet, got t2, t1"):
        _evaluate(study, f"--dataset={info.root}")


def test_a_corrupt_shard_is_named(study, made, tmp_path):
    shutil.copytree(made / "data", tmp_path / "data")
    shard = next((tmp_path / "data").glob("test-*"))
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(UserError, match=shard.name):
        _evaluate(study, f"--dataset={tmp_path / 'data'}")
    assert not (study / "evaluation").exists()


def test_data_that_were_moved_are_named_with_the_flag_for_their_new_folder(study, tmp_path):
    body = json.loads((study / "run.json").read_text(encoding="utf-8"))
    (study / "run.json").write_text(json.dumps(body | {"dataset": str(tmp_path / "gone")}), encoding="utf-8")
    with pytest.raises(UserError, match="gone.*If the data were moved, name their new folder with --dataset"):
        _evaluate(study)


def test_missing_arguments_and_empty_partitions(study):
    with pytest.raises(UserError, match="expected --run, which is missing"):
        _evaluate()
    with pytest.raises(UserError, match="expected cases in partition 'validation'"):
        _evaluate(study, "--partition=validation")


def test_without_test_patients_the_validation_patients_are_named():
    info = types.SimpleNamespace(partitions={"labelled": (1, 2), "validation": (3, 4, 5)}, location="data/sts")
    with pytest.raises(
        UserError, match="data/sts: .* no test patients. Pass --partition=validation to score its 3 val"
    ):
        data_provenance.cases_to_score(info, "test")


def test_scores_of_one_patient_have_a_note():
    (note,) = data_provenance.one_patient_note(1, "test")
    assert note.startswith("One test patient is no evidence") and not data_provenance.one_patient_note(2, "test")
    assert headline._patients(1, "test") == "One test patient, which is no evidence"
    assert headline._patients(4, "test") == "4 test patients"


def test_comparison_prints_the_no_network_baselines_once(evaluated, study, capsys, monkeypatch):
    second = study
    monkeypatch.setattr(Run, "network", lambda self, modality: band_network())
    _evaluate(second)
    capsys.readouterr()
    _compare(evaluated, second, "--names=labelled only,full label")
    lines = capsys.readouterr().out.splitlines()
    table = itertools.takewhile(lambda line: line.startswith("|"), lines)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row[:2] for row in rows[2:]] == [
        ["labelled only", "ct"],
        ["labelled only", "pet"],
        ["full label", "ct"],
        ["full label", "pet"],
        ["blind ellipsoid", ""],
        [rows[-1][0], ""],
    ]
    assert rows[-1][0].endswith("threshold")
    assert rows[4][2] == "1.000 ± 0.000"
    assert rows[4][7] == "0/3"


def test_a_run_before_and_after_its_data_grew_is_compared_in_one_command(study, made, tmp_path, capsys):
    partitions = _partitions()
    native = oblique_grid()
    more = patient("l2", ball(native, (12, 12, 7), 6.5), native)
    grown = write_dataset(tmp_path / "grown", {**partitions, "labelled": [*partitions["labelled"], more]})
    write_run(tmp_path / "after", grown)
    _compare(study, tmp_path / "after", "--names=before,after", f"--dataset={grown.root}")
    assert "ct | before less after" in capsys.readouterr().out.replace("| ct |", "ct |")
    scored = study / f"evaluation/test-{grown.data_hash[:12]}/metrics.json"
    assert json.loads(scored.read_text(encoding="utf-8"))["dataset"]["data_hash"] == grown.data_hash
    assert (tmp_path / "after/evaluation/test/metrics.json").exists() and not (study / "evaluation/test").exists()
    # What has been scored is not scored again.
    written = scored.stat().st_ino
    _compare(study, tmp_path / "after", f"--dataset={grown.root}")
    assert scored.stat().st_ino == written
    # Other flips or another overlap make other masks, which have a folder of their own.
    _compare(study, tmp_path / "after", f"--dataset={grown.root}", "--flips", "--overlap=0.5")
    assert scored.stat().st_ino == written
    averaged = study / f"evaluation/test-{grown.data_hash[:12]}-flips-overlap0.5/metrics.json"
    body = json.loads(averaged.read_text(encoding="utf-8"))
    assert (body["flips"], body["overlap"]) == (True, 0.5)
    assert (tmp_path / "after/evaluation/test-flips-overlap0.5/metrics.json").exists()
    swapped = write_dataset(tmp_path / "swapped", {"labelled": partitions["test"][:2], "test": partitions["labelled"]})
    with pytest.raises(UserError, match="this run has seen patients who are scored in these data: l0, l1"):
        _compare(study, tmp_path / "after", f"--dataset={swapped.root}")


def test_comparison_refuses_runs_that_were_scored_on_different_patients(evaluated, study, tmp_path, other):
    _evaluate(study, f"--dataset={other.root}", "--allow_other_data", f"--output={tmp_path / 'b'}")
    _evaluate(study, "--partition=labelled")
    test = evaluated / "evaluation" / "test" / "metrics.json"
    with pytest.raises(UserError, match="the data hashes differ"):
        comparison.build([test, tmp_path / "b" / "metrics.json"], ["a", "b"])
    with pytest.raises(UserError, match="the partitions differ"):
        comparison.build([test, study / "evaluation" / "labelled" / "metrics.json"], ["a", "b"])
    with pytest.raises(UserError, match="expected as many names as runs"):
        comparison.build([test, test], ["a"])
    with pytest.raises(UserError, match="expected the metrics of an evaluated run"):
        _compare(tmp_path / "nowhere")


def test_overlays_show_the_slice_with_the_most_truth_from_worst_to_best():
    record = _partitions()["test"][0]
    blank = np.zeros((1, *record.grid.shape), np.float32)

    @dataclasses.dataclass
    class Score:
        dice: float
        outcome: str = "both present"

    panels = [
        overlay.panel(
            record, tuple(NORMALISATION), dict.fromkeys(NORMALISATION, Answer(blank, blank > 0, {LESION: Score(dice)}))
        )
        for dice in (0.9, 0.1, 0.5, 0.7, 0.3, 0.2, 0.8, 0.6)
    ]
    area = record.label.sum(axis=(1, 2))
    assert area[panels[0].slice_index] == area.max()
    chosen = [item.mean_dice for item in overlay.choose(panels)]
    assert len(chosen) == 6 and chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0.1, 0.9)


def test_one_network_alone_scores_as_beside_the_other(study, skilled):
    _evaluate(study)
    both = {row["name"]: row["cases"] for row in _metrics(study)["rows"]}
    _evaluate(study, "--modalities=pet")
    body = _metrics(study)
    assert [row["name"] for row in body["rows"] if row["kind"] == "network"] == ["pet"]
    assert {row["name"]: row["cases"] for row in body["rows"]}["pet"] == both["pet"]
    with pytest.raises(UserError, match="--modalities among ct, pet, got 'mr'"):
        _evaluate(study, "--modalities=mr")
