"""A small cross-validation: interrupted, resumed, pooled, published and refused."""

import dataclasses
import json
import types

import pytest

from semicml_tf import commandline
from semicml_tf.conversion import view
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.errors import UserError
from semicml_tf.evaluation import comparison, report
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.job import evaluate
from semicml_tf.experiments import crossvalidation, job
from semicml_tf.experiments.config import CrossvalidateConfig, ExperimentConfig
from semicml_tf.records import shards
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.reporting import job as reporting
from semicml_tf.reporting.config import ReportConfig
from semicml_tf.runs import ensemble
from tests.support.experiments import flagfile
from tests.support.in_process_jobs import in_process

ROW = "--row=plain: --method=supervised"
SMALL = ("--cases=5", "--epochs=1", "--steps_per_epoch=1", "--method=supervised", "--labelled_patients=1")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An experiment over folds that has converted its data, and a cross-validation of these data, interrupted once."""
    root = tmp_path_factory.mktemp("crossvalidation")
    study = flagfile(root, *SMALL, ROW, "--folds=2", "--validation_patients=1", "--stratify=lesion_size")
    experiment = ExperimentConfig(flagfile=[study], output=root / "experiment", workers=1)
    with in_process(stop_after=2) as made, pytest.raises(KeyboardInterrupt):
        job.experiment(experiment)
    dataset = root / "experiment" / "datasets" / "ct-pet"
    config = CrossvalidateConfig(flagfile=[study], dataset=dataset, output=root / "cv", repeats=2, workers=1)
    with in_process(stop_after=5) as first, pytest.raises(KeyboardInterrupt):
        crossvalidation.crossvalidate(config)
    with in_process() as second:
        result = crossvalidation.crossvalidate(config)
    return types.SimpleNamespace(
        experiment=experiment, made=made, config=config, first=first, second=second, result=result, root=root,
        cv=root / "cv", study=study, dataset=dataset,
    )  # fmt: skip


def test_an_experiment_converts_once_with_all_patients_labelled(done):
    assert done.made == ["volumes", "dataset ct-pet"]
    assert len(DatasetInfo.load(done.dataset).cases("labelled")) == 5
    with in_process(stop_after=0), pytest.raises(KeyboardInterrupt):
        job.experiment(done.experiment)
    made = sorted(path.name for path in (done.root / "experiment" / "splits").iterdir())
    assert made == ["1-seed0-fold0.json", "1-seed0-fold1.json", "whole.json"]


def test_the_table_is_over_all_patients(done):
    table = (done.cv / "table.md").read_text()
    assert (
        "Patients of partition 'test': 5, the same in every row" in table
        and "has no run with the same number" not in table
    )
    assert "Cross-validation: 2 folds per seed" in table and "sd over folds" in table
    header = (done.cv / "scores.csv").read_text().splitlines()[0]
    assert header.startswith("modalities,row,kind,labelled,seed,modality,patient,fold,dice")
    record = json.loads((done.cv / "experiment.json").read_text())
    assert [len(cell["folds"]) for cell in record["cells"]] == [2, 2]


def test_an_interrupted_cross_validation_resumes(done):
    assert len(done.first) == 5 and len(set(done.first) | set(done.second)) == 8
    assert not set(done.first) & set(done.second)
    with in_process() as third:
        result = crossvalidation.crossvalidate(done.config)
    assert third == [] and result.scores == done.result.scores


def test_the_pooled_scores_are_those_of_the_folds(done):
    for seed in (0, 1):
        pooled = report.load(done.cv / f"pooled/ct-pet-1-seed{seed}/experiment/evaluation/test/metrics.json")
        runs = sorted((done.cv / "runs").glob(f"ct-pet-1-seed{seed}-fold*/experiment"))
        single = [report.load(run / "evaluation/test/metrics.json") for run in runs]
        for number, row in enumerate(pooled["rows"]):
            cases = [case for body in single for case in body["rows"][number]["cases"]]
            assert row["cases"] == sorted(cases, key=lambda case: case["case_id"])
        assert [fold["run_hash"] for fold in pooled["folds"]] == [body["run"]["run_hash"] for body in single]
    joined = report.load(done.cv / "evaluation/test/metrics.json")
    assert len(report.patients(joined)) == 5 and len(joined["folds"]) == 4
    for fold in joined["folds"]:
        assert (done.cv / "evaluation" / "test" / fold["run"] / "run.json").is_file()
    assert done.result.scores["ct"]["dice"] == report.networks(joined)[0]["summary"]["dice"]["mean"]


def test_each_fold_chooses_post_processing_on_its_validation_patients(done):
    runs = [cell.folder for cell in done.result.plan.cells]
    for run in runs:
        choice = json.loads((run / "postprocessing.json").read_text())["modalities"]
        validated_on = json.loads((run / "run.json").read_text())["data"]["validated_on"]
        assert {name: of_network["cases"] for name, of_network in choice.items()} == dict.fromkeys(choice, validated_on)
        scored = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())
        assert scored["postprocessing"] == {name: of_network["chosen"] for name, of_network in choice.items()}
    with pytest.raises(UserError, match="started with --postprocessing=chosen, got none"):
        crossvalidation.crossvalidate(changed(done, postprocessing="none"))


def test_each_view_has_the_labels_of_its_fold_alone(done):
    tested = []
    for folder in sorted((done.cv / "datasets").glob("ct-pet-1-seed0-fold?")):
        info = DatasetInfo.load(folder)
        assert len(info.cases("labelled")) == len(info.cases("validation")) == 1
        tested += [case.case_id for case in info.cases("test")]
        unlabelled = info.partitions["unlabelled"]
        assert all(record.label is None for record in shards.read_cases(info, unlabelled))
    assert sorted(tested) == sorted(case.case_id for case in DatasetInfo.load(done.dataset).cases("labelled"))


def test_the_ensemble_names_all_runs(done):
    members = ensemble.read_ensemble(done.result.ensemble)
    assert {run.folder for run in members} == {cell.folder.resolve() for cell in done.result.plan.cells}
    text = (done.cv / "ensemble" / "ensemble.json").read_text()
    assert '"../runs/ct-pet-1-seed0-fold0/experiment"' in text and str(done.root) not in text


def test_the_page_shows_the_pooled_scores_and_the_folds(done, tmp_path):
    result = reporting.report(ReportConfig(run=[str(done.cv)], output=str(tmp_path / "page.html"), images=False))
    page = result.file.read_text(encoding="utf-8")
    assert result.problem is None and "cross-validation of 4 runs" in page
    assert page.count("ct-pet-1-seed1-fold0") > 1 and "Learning curves" in page


def test_the_plan_says_what_is_done(done, capsys):
    words = [f"--flagfile={done.study}", f"--dataset={done.dataset}", f"--output={done.cv}"]
    commandline.call("semicml_tf.crossvalidate", [*words, "--repeats=3", "--dry_run"])
    printed = capsys.readouterr().out
    assert "6 datasets, 4 made; 6 runs, 4 finished" in printed and "2 folds of" in printed


def changed(done, **options):
    return dataclasses.replace(done.config, **{name: str(value) for name, value in options.items()})


def test_a_changed_dataset_is_refused(done, tmp_path):
    info = DatasetInfo.load(done.dataset)
    fewer = splits.checked({"labelled": [case.case_id for case in info.cases("labelled")[:4]]})
    view.write(info, fewer, tmp_path / "fewer")
    with in_process() as jobs, pytest.raises(UserError, match="has changed since the cross-validation started"):
        crossvalidation.crossvalidate(changed(done, dataset=tmp_path / "fewer"))
    assert jobs == []


@pytest.mark.parametrize(
    "options,message",
    [
        ({"folds": 6}, "expected --folds from 2 to 5, the number of patients with a label, got 6"),
        ({"labelled_patients": "3"}, "expected at least 3 patients"),
        ({"labelled_patients": "2,4"}, "expected numbers of patients above 0, or all"),
        ({"validation_patients": None}, "got 0 in fold"),
        ({"flagfile": ()}, "expected --flagfile of the study"),
        ({"folds": 2, "fold_file": "folds.json"}, "--folds and --fold_file contradict each other"),
    ],
)
def test_mistakes_are_errors_before_anything_starts(done, tmp_path, options, message):
    with in_process() as jobs, pytest.raises(UserError, match=message) as caught:
        crossvalidation.crossvalidate(dataclasses.replace(done.config, output=str(tmp_path / "out"), **options))
    assert "\n" not in caught.value.line and jobs == [] and not (tmp_path / "out").exists()


def test_folds_of_a_file_are_used(done, tmp_path):
    names = [case.case_id for case in DatasetInfo.load(done.dataset).cases("labelled")]
    (tmp_path / "folds.json").write_text(json.dumps([names[:2], names[2:]]))
    given = {"fold_file": str(tmp_path / "folds.json"), "folds": None, "stratify": "none", "dry_run": True}
    config = dataclasses.replace(done.config, output=str(tmp_path / "out"), **given)
    assert crossvalidation.crossvalidate(config).plan.folds.sizes(5) == (2, 3)
    (tmp_path / "folds.json").write_text(json.dumps([names[:3], names[2:]]))
    with pytest.raises(UserError, match="is in two folds, 0 and 1"):
        crossvalidation.crossvalidate(config)


@pytest.mark.parametrize(
    "lines,message",
    [
        (("--stratify=lesion_size",), "expected --folds with --stratify"),
        (("--dataset=DATA",), "expected --folds with --dataset"),
        (("--folds=2", "--validation_patients=1", "--plan=auto"), "--plan=auto would read the labels of patients"),
        (("--folds=9",), "expected --folds from 2 to 5"),
        (("--folds=3", f"{ROW} --labelled_patients=4"), "row 'plain': expected at least 4 patients"),
    ],
)
def test_mistakes_of_an_experiment_with_folds(tmp_path, lines, message):
    rows = () if any(line.startswith(ROW) for line in lines) else (ROW,)
    study = flagfile(tmp_path, *SMALL, *rows, *lines)
    with pytest.raises(UserError, match=message):
        job.experiment(ExperimentConfig(flagfile=[study], output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_row_with_its_own_labelled_patients_has_folds_of_its_own(tmp_path):
    study = flagfile(
        tmp_path, *SMALL, ROW, f"{ROW.replace('plain', 'all')} --labelled_patients=1,all", "--folds=4", "--cases=8"
    )
    config = ExperimentConfig(flagfile=[study], output=str(tmp_path / "out"), dry_run=True)
    cells = job.experiment(config).plan.cells
    assert [(cell.row, cell.labelled) for cell in cells if cell.fold == 1] == [
        ("plain", "1"), ("all", "1"), ("all", "all")
    ]  # fmt: skip
    assert len(cells) == 12 and len({cell.folder for cell in cells}) == 12


def test_masks_of_another_tool_are_compared_with_the_pooled_scores(done, tmp_path):
    """The dataset itself has all tested patients as labelled patients. The pooled scores have its hash."""
    options = {"masks": str(done.root / "experiment" / "volumes" / "labelsTr"), "dataset": str(done.dataset)}
    evaluate(EvaluateConfig(**options, partition="labelled", output=str(tmp_path / "truth"), name="truth"))
    external = tmp_path / "truth" / "metrics.json"
    compared = comparison.build([done.cv / "evaluation" / "test" / "metrics.json", external], ["cv", "truth"])
    assert [(one["modality"], one["patients"]) for one in compared["tests"]] == [("ct", 5), ("pet", 5)]
    config = ReportConfig(run=[str(done.cv)], external=[str(external)], output=str(tmp_path / "page.html"))
    assert "truth" in reporting.report(config).file.read_text(encoding="utf-8")
