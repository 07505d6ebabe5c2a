"""The plan of an experiment: the order of its cells, and errors before any run starts."""

import dataclasses
import json
import pathlib
import shlex

import pytest

from semicml_tf import commandline
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.errors import UserError
from semicml_tf.experiments import input_record, job, plan, runs
from semicml_tf.experiments.config import ExperimentConfig
from semicml_tf.experiments.method_row import parse_rows
from semicml_tf.phantom.config import PhantomConfig
from semicml_tf.runs.settings import MEANING
from tests.support.experiments import ROWS, flagfile, planned


def test_a_row_is_a_name_and_flags_and_where_it_is_run():
    where = {"modality_sets": (("ct", "pet"),), "labelled": ("4",), "seeds": (0, 1)}
    first, second = parse_rows(
        [
            "Mean  Teacher: --method=mean_teacher --unlabelled_weight=2",
            "x: --seeds=3 --labelled_patients=2,all --window=48",
        ],
        **where,
    )
    assert (first.name, first.slug) == ("Mean Teacher", "mean-teacher")
    assert first.flags == ("--method=mean_teacher", "--unlabelled_weight=2")
    assert (first.modality_sets, first.labelled, first.seeds) == ((("ct", "pet"),), ("4",), (0, 1))
    assert (second.flags, second.labelled, second.seeds) == (("--window=48",), ("2", "all"), (3,))


def test_all_rows_of_a_seed_come_before_the_next(tmp_path):
    cells = planned(tmp_path, *ROWS, "--seeds=4,1", "--labelled_patients=2,all").cells
    assert [(cell.seed, cell.labelled, cell.row) for cell in cells] == [
        (seed, labelled, row) for seed in (4, 1) for labelled in ("2", "all") for row in ("ours", "plain")
    ]
    assert len({cell.folder for cell in cells}) == len(cells)
    assert cells[0].folder == tmp_path / "out" / "runs" / "ct-pet-2-seed4" / "ours"


def test_labelled_patients_feed_the_unlabelled_stream_if_all_are_labelled(tmp_path):
    made_of = {
        (cell.row, cell.labelled): cell.flags for cell in planned(tmp_path, *ROWS, "--labelled_patients=5,all").cells
    }
    extra = ("--unlabelled_partitions=labelled",)
    method = ("--method=semi_cml,prel",)
    # The pool has five patients.
    assert made_of["ours", "5"] == made_of["ours", "all"] == method + extra
    assert made_of["plain", "all"] == ("--method=supervised",)
    assert planned(tmp_path, *ROWS).cells[0].flags == method


@pytest.mark.parametrize(
    "lines,message",
    [
        ((), "expected a --row, got none"),
        (("--row=ours",), "expected --row=NAME: FLAGS"),
        (("--row=: --method=cps",), "expected --row=NAME: FLAGS"),
        (("--row=a: --methd=cps",), "row 'a': unknown flag --methd. Did you mean --method"),
        (("--row=a: --method=cpss",), "row 'a': expected methods among"),
        (("--row=a: --width=wide",), "row 'a': expected --width to be a whole number from 1 to 1024, got 'wide'"),
        (("--row=a: --width=0",), "row 'a': expected --width to be a whole number from 1 to 1024"),
        (("--row=a: method=cps",), "row 'a': expected --flag=value, got 'method=cps'"),
        (("--row=a: --method='cps",), "row 'a': its flags cannot be read"),
        (("--row=a: --seed=3",), "row 'a': --seed is set by the experiment"),
        (("--row=a: --seeds=x",), "row 'a': expected integers of at least 0"),
        (("--row=a: --labelled_patients=6",), "row 'a': expected at most 5 labelled patients"),
        (
            ("--row=a: --labelled_patients=all --unlabelled_partitions=unlabelled",),
            "row 'a': .*but the row needs unlabelled patients",
        ),
        (("--row=a b: --method=cps", "--row=A  B: --method=ict"), "two rows have the same name, 'a b' and 'A B'"),
        ((*ROWS, "--labelled_patients=0"), "numbers of patients above 0"),
        ((*ROWS, "--labelled_patients=2,none"), "numbers of patients above 0"),
        ((*ROWS, "--labelled_patients=2,2"), "each of --labelled_patients once"),
        ((*ROWS, "--seeds=-1"), "integers of at least 0"),
        ((*ROWS, "--seeds=1,01"), "each of --seeds once"),
        ((*ROWS, "--modality_sets=ct"), "row 'ours': expected a dataset of at least 2 modalities for semi_cml"),
        ((*ROWS, "--modality_sets=ct:ct"), "expected different modalities"),
        ((*ROWS, "--modality_sets=ct:pet", "--pairs=ct:pet"), "the former name of --modality_sets"),
        ((*ROWS, "--reference=theirs"), "one of the rows in --reference, got 'theirs'. Name one of ours, plain"),
        ((*ROWS, "--baseline=theirs"), "one of the rows in --baseline"),
        ((*ROWS, "--split_seed=0"), "--split_seed is not allowed in an experiment"),
        ((*ROWS, "--cases=3"), "3 cases|got 3"),
    ],
)
def test_mistakes_are_errors_before_any_process_starts(lines, message, tmp_path):
    with pytest.raises(UserError, match=message):
        planned(tmp_path, *lines)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, capsys):
    words = [f"--flagfile={flagfile(tmp_path, *ROWS, '--seeds=0,1')}", f"--output={tmp_path / 'out'}", "--dry_run"]
    commandline.call("semicml_tf.experiment", words)
    printed = capsys.readouterr().out
    assert "2 datasets, 0 made; 4 runs, 0 finished" in printed and "pool of 5 patients" in printed
    assert not (tmp_path / "out").exists()


def test_the_printed_command_makes_the_same_cells(tmp_path):
    path = flagfile(tmp_path, *ROWS)
    words = [f"--flagfile={path}", "--output=out folder", "--seeds=3,1", "--row=more: --method=cps --width=4"]
    config = commandline.config("semicml_tf.experiment", [*words, "--workers=1", "--tables_only"])
    printed = shlex.split(job.command(config))
    assert printed[:3] == ["python", "-m", "semicml_tf.experiment"] and "--tables_only" not in printed
    again = commandline.config("semicml_tf.experiment", printed[3:])
    assert plan.make(again) == plan.make(config)
    assert len(plan.make(again).cells) == 6


def test_a_config_made_in_python_equals_the_config_of_the_command_line(tmp_path):
    path = flagfile(tmp_path, *ROWS, "--partition=validation", "--workers=3")
    words = [f"--flagfile={path}", "--output=out", "--workers=0", "--row=more: --method=cps"]
    config = ExperimentConfig(flagfile=[path], output="out", workers=0, row=["more: --method=cps"])
    assert config == commandline.config("semicml_tf.experiment", words)
    assert (config.partition, config.workers, len(config.row)) == ("validation", 0, 3)
    assert dataclasses.replace(config, partition="test") != config
    assert dataclasses.replace(config, partition="test").row == config.row
    with pytest.raises(UserError, match="expected a flagfile"):
        ExperimentConfig(flagfile=[tmp_path / "none"], output="out")


def test_the_other_commands_take_the_same_flagfile(tmp_path):
    path = flagfile(tmp_path, *ROWS, "--reference=ours", "--modality_sets=ct:pet")
    values, _ = commandline.parse("semicml_tf.train", [f"--flagfile={path}"])
    assert values.steps_per_epoch == 3


def test_the_former_name_of_modality_sets_plans_the_same(tmp_path):
    former = planned(tmp_path, *ROWS, "--pairs=ct:pet,pet:mr", "--row=more: --pairs=ct:mr")
    now = planned(tmp_path, *ROWS, "--modality_sets=ct:pet,pet:mr", "--row=more: --modality_sets=ct:mr")
    assert former.cells == now.cells


def test_each_set_of_modalities_is_converted_with_the_options_of_the_study(tmp_path):
    how = "--normalisation=ct=hu:-200:300,pet=suv:0:15,mr=percentile:1:99"
    experiment = planned(tmp_path, *ROWS, how, "--modality_sets=ct:pet,pet:mr", "--reference_modality=ct")
    plan.write_splits(experiment)
    jobs = dict((job.name, job) for job, _ in runs.jobs_of(experiment, threads=1))
    words = jobs["dataset pet-mr-2-seed0"].commands[0]
    assert {
        "--modalities=pet,mr",
        "--reference_modality=pet",
        "--normalisation=pet=suv:0:15,mr=percentile:1:99",
    } <= set(words)
    assert "--reference_modality=ct" in jobs["dataset ct-pet-2-seed0"].commands[0]
    # Both are of the same patients.
    assert {word for job in jobs.values() for word in job.commands[0] if word.startswith("--split=")} == {
        f"--split={tmp_path / 'out' / 'splits' / '2-seed0.json'}"
    }
    assert "--modalities=pet,mr" in jobs["row 'ours' (pet-mr-2-seed0)"].commands[-1]
    assert jobs["row 'ours' (pet-mr-2-seed0)"].after == "dataset pet-mr-2-seed0"
    assert jobs["dataset pet-mr-2-seed0"].after == "volumes"


def test_another_split_in_the_same_folder_is_refused(tmp_path):
    plan.write_splits(planned(tmp_path, *ROWS))
    plan.write_splits(planned(tmp_path, *ROWS))
    with pytest.raises(UserError, match="started with another split"):
        plan.write_splits(planned(tmp_path, *ROWS, "--labelled=2"))  # the phantom draws others to test on


def test_data_made_with_other_flags_are_refused(tmp_path):
    record, product = tmp_path / "made" / "a.json", tmp_path / "data" / "dataset.json"
    input_record.check_or_note(record, product, {"spacing": [4, 4], "old": 1})
    input_record.check_or_note(record, product, {"spacing": [3, 3], "old": 1})  # not made yet: may change
    product.parent.mkdir()
    product.write_text("{}")
    input_record.check_or_note(record, product, {"spacing": [3, 3], "old": 1, "oblique": False}, PhantomConfig)
    with pytest.raises(UserError, match="made with --spacing=3,3, now 4,4"):
        input_record.check_or_note(record, product, {"spacing": [4, 4], "old": 1})
    record.unlink()
    with pytest.raises(UserError, match="not made by an experiment"):
        input_record.check_or_note(record, product, {"spacing": [3, 3]})


def test_data_of_an_earlier_version_are_accepted_with_the_same_flags(tmp_path):
    """It recorded the numbers of a list as text."""
    record, product = tmp_path / "a.json", tmp_path / "dataset.json"
    product.write_text("{}")
    made = {"phantom_size_mm": ["192", "192", "96"], "cases": 8, "layout": "hecktor"}
    record.write_text(json.dumps(made))
    config = PhantomConfig(output="OUT", cases=8)
    now = input_record.flags_of(config, without=("output", "overwrite"))
    input_record.check_or_note(record, product, now, PhantomConfig)
    record.write_text(json.dumps(made | {"phantom_size_mm": ["192", "192", "90.5"]}))
    with pytest.raises(UserError, match="--phantom_size_mm=192,192,90.5, now 192,192,96"):
        input_record.check_or_note(record, product, now, PhantomConfig)


def _write_run(cell, **body):
    body = {"data_hash": "a" * 64, "initial_run": None, "meaning_of_settings": MEANING} | body
    body |= {"dataset": "data", "run_hash": "b" * 64, "modalities": list(cell.modalities)}
    (cell.folder / "run.json").write_text(json.dumps(body))


@pytest.mark.parametrize(
    "change,difference",
    [
        ({"initial_run": "/runs/first"}, "--init_from=/runs/first, now "),
        ({"meaning_of_settings": 1}, "another version"),
    ],
    ids=["started with another run", "of another version"],
)
def test_a_run_made_with_other_flags_is_not_used(change, difference, tmp_path):
    experiment = planned(tmp_path, *ROWS)
    for cell in experiment.cells:
        cell.folder.mkdir(parents=True)
        settings = runs.grid.settings_as_flags(experiment.study, cell)
        _write_run(cell, settings=settings, **(change if cell.row == "plain" else {}))
    marked, messages = runs.with_stale_cells(experiment)
    assert [cell.stale for cell in marked.cells] == [False, True]
    assert len(messages) == 1 and "row 'plain'" in messages[0] and difference in messages[0]


def test_a_run_of_other_settings_is_named_with_the_differences(tmp_path):
    experiment = planned(tmp_path, *ROWS)
    ours, plain = experiment.cells
    for cell, width in ((ours, 2), (plain, 4)):
        settings = {**runs.grid.settings_as_flags(experiment.study, cell), "width": width}
        settings.pop("l2")  # as if written before there was this setting: it meant the default
        cell.folder.mkdir(parents=True)
        _write_run(cell, settings=settings)
    marked, messages = runs.with_stale_cells(experiment)
    assert [cell.stale for cell in marked.cells] == [False, True]
    assert len(messages) == 1 and "row 'plain'" in messages[0] and "--width=4, now 2" in messages[0]


@pytest.mark.parametrize(
    "path",
    sorted((pathlib.Path(__file__).parents[2] / "configs" / "experiments").glob("*.flags")),
    ids=lambda p: p.stem,
)
def test_the_committed_experiments_can_be_planned(path, tmp_path):
    source = tmp_path / "volumes"
    source.mkdir()
    body = {"labelled": [f"l{n}" for n in range(40)], "validation": ["v"], "test": ["t"]}
    (source / "split.json").write_text(json.dumps(splits.checked(body).to_json()))
    words = [f"--flagfile={path}", f"--output={tmp_path / 'out'}", f"--input={source}"]
    experiment = plan.make(commandline.config("semicml_tf.experiment", words))
    assert len(experiment.cells) > 1 and experiment.reference.split()[0] == "ours"
