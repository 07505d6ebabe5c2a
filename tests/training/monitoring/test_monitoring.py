"""Monitoring of a run: progress line, learning curves, gradient norms, dry run."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.training import memory
from semicml_tf.training.distributed.devices import strategy_for
from semicml_tf.training.monitoring import curves
from semicml_tf.training.monitoring.progress import ProgressLine, losses_text
from tests.support import method_batches

TINY = ["--width=2", "--window=32", "--labelled_batch=4", "--unlabelled_batch=4", "--devices=cpu:0", "--burn_in=0"]


def test_the_progress_line_shows_position_speed_and_scores(capsys):
    with ProgressLine(6, 2, 3) as line:
        line.compiles("prel")
        line.step(1, "prel", {"loss": 3.0, "loss_supervised": 2.0, "loss_teach_ct": 1.0, "alike": 0.5}, 151.6)
        line.say("warning: something")
        line.validated({"ct": 0.5, "pet": 0.75})
        line.step(2, "prel", {"loss": 2.5, "loss_supervised": 2.5}, 160.0)
        line.validated({"ct": 0.625, "pet": 0.875})
    shown = capsys.readouterr()
    # Without a terminal: why the first step takes long, then a line for each epoch.
    assert "\r" not in shown.err
    lines = shown.err.splitlines()
    assert len(lines) == 3 and lines[0] == "prel: compiling the training step, which can take minutes"
    assert lines[1].startswith("epoch 2/3 prel: 3/6 steps")
    assert lines[-1].startswith("epoch 3/3 prel: 4/6 steps") and " left" in lines[-1]
    # The last validation is seen though no step comes after it.
    assert lines[-1].endswith(", Dice ct 0.625 pet 0.875, loss 2.50, 160 slices/s")
    assert "warning: something" in shown.out + shown.err
    with ProgressLine(6, 2, 3, silent=True) as line:
        line.compiles("prel")
        line.step(0, "prel", {"loss": 3.0}, 1.0)
    assert capsys.readouterr().err == ""


def test_the_progress_line_shows_the_loss_as_a_sum_of_terms():
    assert losses_text({"loss": 3.0, "loss_a": 2.0, "loss_b": 1.0, "seen": 7.0}) == "loss 3.00 = a 2.00 + b 1.00"
    assert losses_text({"loss": 3.0, "loss_a": 3.0}) == "loss 3.00"


def _row(epoch, stage, **more):
    return {"epoch": epoch, "stage": stage, "step": 5 * epoch + 5, "dice_ct": 0.1, "loss": 2.0, **more}


def test_each_number_has_one_panel():
    rows = [
        _row(0, "semi_cml", loss_asc=1.0, learning_rate_ct=0.1, threshold_ct=0.5, gradient_norm_ct=3.0),
        _row(1, "prel", label_mass=0.2, teacher="pet", alarm="empty", slices_per_second=10.0),
    ]
    assert curves.columns_of(rows) == {
        "validation Dice": ["dice_ct"],
        "loss": ["loss", "loss_asc"],
        "watched": ["label_mass"],
        "gradient norm": ["gradient_norm_ct"],
        "learning rate": ["learning_rate_ct"],
        "slices a second": ["slices_per_second"],
    }


def test_a_modality_has_a_colour_and_a_class_a_dash():
    columns = ["dice_t1", "dice_t1_wt", "dice_t1_tc", "dice_t1ce", "dice_t1ce_wt", "dice_t1ce_tc"]
    styles = curves._styles("validation Dice", columns)
    colours, dashes = ({name: style.get(key) for name, style in styles.items()} for key in ("color", "linestyle"))
    assert set(styles) == set(columns)
    assert colours["dice_t1"] == colours["dice_t1_tc"] != colours["dice_t1ce"] == colours["dice_t1ce_tc"]
    assert dashes["dice_t1_wt"] == dashes["dice_t1ce_wt"] != dashes["dice_t1_tc"] == dashes["dice_t1ce_tc"]
    assert [style["label"] for style in styles.values() if "label" in style] == ["t1", "t1ce"]
    # One target: the name of a modality may begin with that of another.
    assert all("label" in style for style in curves._styles("validation Dice", ["dice_t1", "dice_t1_gd"]).values())
    many = [f"dice_ct_organ{number}" for number in range(9)]
    assert list(curves._styles("validation Dice", ["dice_ct", *many])) == ["dice_ct"]


def test_an_alarm_is_drawn_in_red():
    def red(rows):
        pixels = np.asarray(Image.open(io.BytesIO(curves.draw(rows))).convert("RGB")).astype(int)
        return int(((pixels[..., 0] > 240) & (pixels[..., 1:] < 20).all(axis=-1)).sum())

    rows = [_row(epoch, "prel") for epoch in range(3)]
    assert red(rows) == 0 < red([*rows[:2], rows[2] | {"alarm": "empty masks"}])


@pytest.mark.parametrize("devices", [["cpu:0"], ["cpu:0", "cpu:1"]])
def test_the_gradient_norm_is_that_of_the_step(devices):
    """A step of plain SGD at rate 1 moves the weights by their gradients."""
    strategy = strategy_for(devices)
    how = {"optimizer": "sgd", "learning_rate": 1.0, "lr_warmup_epochs": 0.0, "lr_schedule": "restarts", "l2": 0.01}
    how |= {"levels": 1, "precision": "float64"}
    with strategy.scope():
        method = method_batches.method("supervised", synchronized=len(devices) > 1, **how)
    before = [variable.numpy().copy() for variable in method.students["ct"].trainable_variables]
    terms = method_batches.eager_step(method, strategy)(method_batches.batch(0, 4, 0, "float64"))
    after = [variable.numpy() for variable in method.students["ct"].trainable_variables]
    moved = np.sqrt(sum(np.sum((b - a) ** 2) for a, b in zip(before, after)))
    assert float(terms["gradient_norm_ct"]) == pytest.approx(moved, rel=1e-6)  # the rate is a float32


def test_a_dry_run_prints_the_plan_takes_steps_and_writes_nothing(
    quick_runs, phantom_dataset, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    commandline.call("semicml_tf.train", [f"--dataset={phantom_dataset}", "--dry_run", *TINY, "--epochs=2,3"])
    text = capsys.readouterr().out
    info = DatasetInfo.load(phantom_dataset)
    assert info.data_hash[:12] in text and "in all 250 steps" in text
    labelled = sum(case.shape[0] for case in info.cases("labelled"))
    assert f"labelled: 3 patients, {labelled} slices" in text and "unlabelled: 4 patients" in text
    assert "  test:" not in text
    assert text.count("stage ") == 2 and "3 epochs of 50 steps, 4 labelled + 4 unlabelled slices of 32 x 32" in text
    # One level of width 2: two 3x3 convolutions, each with normalisation of four values a channel, and the 1x1 one.
    counts = re.findall(r"network \w+: ([\d,]+) parameters", text)
    assert set(counts) == {str(9 * 2 + 4 * 2 + 9 * 4 + 4 * 2 + 3)}
    assert len(re.findall(r"tried: loss \d+\.\d+ = supervised", text)) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["supervised", "prel", "cps"])
def test_bytes_of_variables_are_counted(name):
    method = method_batches.method(name, levels=2)
    # Each held once: students, moving averages, companions, and Adam's two slots of what learns.
    learns = sum(np.prod(v.shape) for name in method.modalities for v in method._variables(name))
    everything = sum(weight.numpy().nbytes for network in method.networks().values() for weight in network.weights)
    assert everything + 8 * learns <= memory.held_bytes(method) <= everything + 8 * learns + 64
    assert memory.step_bytes(method, 0) == 4 * learns


def test_a_step_that_exceeds_the_memory_by_far_is_refused(monkeypatch):
    method, strategy = method_batches.method("supervised", levels=1), strategy_for(("cpu:0",))
    memory.check(method, 4, strategy)
    monkeypatch.setattr(memory, "_ram_bytes", lambda: memory.step_bytes(method, 4) // 8)
    with pytest.raises(UserError, match="GiB of memory, and this machine has 0 GiB. Lower --labelled_batch"):
        memory.check(method, 4, strategy)


def test_memory_counts_the_features_of_all_trained_networks():
    def a_slice(name):
        method = method_batches.method(name, levels=1)
        return memory.step_bytes(method, 3) - memory.step_bytes(method, 2)

    # Of each network, in float32: the slice; two convolutions, each normalised and rectified, of two channels; the map.
    pixels = method_batches.WINDOW**2
    assert a_slice("supervised") == 2 * 4 * pixels * (1 + 2 * 3 * 2 + 1)
    assert a_slice("cps") == 2 * a_slice("supervised")
