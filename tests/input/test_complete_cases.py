"""Cases that lack a modality: out of the streams, refused where networks are taught or chosen, told of in the run."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.input import augment
from semicml_tf.input.complete_cases import require_whole, whole_cases
from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
from semicml_tf.input.stream import StreamSettings
from tests.support.evaluation_data import ball, oblique_grid, patient, without, write_dataset
from tests.support.file_names import any_letters
from tests.support.tensorboard_files import logged

# A formula, markup, control characters and a broken formula of TeX.
ODD = {"l0": "=l0|<script>", "v0": "=v0|<b>](x) \x1b[2J\n\u202e$\\frac{$", "u0": "-u0\r\x07"}

TINY = [
    "--method=semi_cml",
    "--width=1",
    "--window=16",
    "--epochs=1",
    "--steps_per_epoch=1",
    "--labelled_batch=2",
    "--unlabelled_batch=2",
    "--burn_in=0",
    "--devices=cpu:0",
]


def _records():
    native = oblique_grid()
    made = {
        name: patient(ODD.get(name, name), ball(native, (12 + number, 13, 7), 6.5), native)
        for number, name in enumerate(("l0", "l1", "v0", "u0", "u1", "u2", "u3"))
    }
    for name in ("u0", "u1", "u2", "u3"):
        made[name] = dataclasses.replace(made[name], label=None, native_label=None)
    return made


def _dataset(folder, *, half=("u1", "u3"), lacks="pet"):
    made = _records()
    for name in half:
        made[name] = without(made[name], lacks)
    return write_dataset(
        folder,
        {
            "labelled": [made["l0"], made["l1"]],
            "validation": [made["v0"]],
            "unlabelled": [made[name] for name in ("u0", "u1", "u2", "u3")],
        },
    )


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return _dataset(tmp_path_factory.mktemp("whole") / "data")


def test_cases_are_told_apart(info):
    whole, lacking = whole_cases(info, ("labelled", "unlabelled"))
    assert [case.case_id for case in whole] == [ODD["l0"], "l1", ODD["u0"], "u2"]
    assert [case.case_id for case in lacking] == ["u1", "u3"]
    assert info.modalities_of(lacking[0]) == ("ct",)
    assert whole_cases(info, ()) == ([], [])


def test_the_unlabelled_stream_shows_whole_cases_alone(info):
    stream = StreamSettings(info.modalities, 32, 0, True, 0.67, augment.NONE, seed=3)
    data = BatchSettings(("labelled",), ("unlabelled",), 2, 16, stream)
    seen = set()
    for batch in batches(info, data).take(8):
        assert set(batch["unlabelled"]["image"]) == {"ct", "pet"}
        seen |= set(batch["unlabelled"]["patient"].numpy().tolist())
    assert seen == {0, 1}  # u0 and u2; u1 or u3 would have stopped the stream


def test_nobody_with_every_modality_is_one_clear_line(tmp_path):
    info = _dataset(tmp_path / "data", half=("u0", "u1", "u2", "u3"))
    with pytest.raises(UserError, match="expected a case with ct and pet in unlabelled, but all 4 lack one"):
        whole_cases(info, ("unlabelled",))
    # The labelled ones may feed that stream alone.
    assert len(whole_cases(info, ("labelled", "unlabelled"))[0]) == 2


@pytest.mark.parametrize("name,partition,lacks", [("l1", "labelled", "ct"), ("v0", "validation", "pet")])
def test_networks_are_taught_and_chosen_on_whole_cases(tmp_path, name, partition, lacks):
    info = _dataset(tmp_path / "data", half=(name,), lacks=lacks)
    with pytest.raises(
        UserError, match=f"case .*{name}.* in '{partition}' lacks {lacks}.*Only 'unlabelled' and 'test'"
    ):
        require_whole(info, ("labelled", "validation"))
    with pytest.raises(UserError, match=f"case .*{name}.* in '{partition}'") as caught:
        commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={tmp_path / 'run'}", *TINY])
    assert caught.value.line.isprintable() and not (tmp_path / "run").exists()


@any_letters
def test_training_says_how_many_were_left_out_and_takes_any_name(quick_runs, info, tmp_path, capsys):
    run = tmp_path / "run"
    commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={run}", *TINY])
    line = "skipped 2 of 6 unlabelled cases: a modality is missing"
    out = capsys.readouterr().out
    assert out.splitlines().count(line) == 1 and out.replace("\n", "").isprintable()
    body = json.loads((run / "run.json").read_text())
    assert body["unlabelled_left_out"] == 2 and np.isfinite(body["best"]["pet"]["dice"])
    assert body["data"]["validated_on"] == [ODD["v0"]] and ODD["l0"] in body["data"]["trained_on"]
    # The picture, whose captions are the names, is in TensorBoard and beside.
    assert (1, "validation") in logged(run) and (run / "pictures" / "epoch-000.png").exists()
    (row,) = csv.DictReader((run / "history.csv").read_text().splitlines())
    assert row["stage"] == "semi_cml" and not any("0|<" in str(value) for value in row.values())


def test_a_method_without_unlabelled_cases_leaves_nobody_out(tmp_path, capsys, monkeypatch):
    info = _dataset(tmp_path / "data", half=("u0", "u1", "u2", "u3"))
    told = {}

    class Stopped(Exception):
        pass

    def trainer(*_, left_out, **__):
        told["left_out"] = left_out
        raise Stopped

    monkeypatch.setattr("semicml_tf.training.trainer.Trainer", trainer)
    with pytest.raises(Stopped):
        how = ["--method=supervised", "--unlabelled_batch=0"]
        commandline.call("semicml_tf.train", [f"--dataset={info.root}", f"--output={tmp_path / 'run'}", *TINY, *how])
    assert told == {"left_out": 0} and "left out" not in capsys.readouterr().out


def test_a_record_keeps_what_it_has(info):
    from semicml_tf.records.shards import read_cases

    records = {record.case_id: record for record in read_cases(info, info.cases("unlabelled"))}
    assert set(records["u1"].images) == {"ct"} and set(records[ODD["u0"]].images) == {"ct", "pet"}
    assert tf.reduce_max(records["u1"].images["ct"]) == 1.0
