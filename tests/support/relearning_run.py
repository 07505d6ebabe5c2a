"""A run that learned from teachers of known answers, its data, and the hidden truth of its unlabelled patients."""

import csv
import dataclasses
import json
import pathlib

import numpy as np

from semicml_tf.runs import run_folder
from tests.support.evaluation_data import (
    NORMALISATION,
    WINDOW,
    ball,
    oblique_grid,
    patient,
    without,
    write_dataset,
    write_run,
)
from tests.support.networks import unet

SETTINGS = {
    "method": ["mutual", "again"],
    "epochs": [2, 2],
    "teacher": "average",
    "teachers": "both",
    "label_fusion": "mean",
    "lr_drop_epochs": [],
    "teacher_modality": "auto",
    "pseudo_labels": "soft",
    "teacher_batch_statistics": False,
    "incomplete_cases": "drop",
}
LEVELS = {("before", "ct"): 0.2, ("before", "pet"): 0.6, ("after", "ct"): 0.4, ("after", "pet"): 0.8}


def history():
    dice = {"ct": (0.30, 0.20, 0.40, 0.55), "pet": (0.50, 0.60, 0.65, 0.50)}
    rows = []
    for epoch in range(4):
        row = {"epoch": epoch, "stage": ("mutual", "again")[epoch // 2], "teacher": "pet" if epoch > 1 else ""}
        row |= {f"dice_{name}": values[epoch] for name, values in dice.items()}
        row |= {f"threshold_{name}": 0.4 for name in dice}
        shares = {"label_foreground": 0.02, "label_mass": 0.03, "truth_foreground": 0.05}
        row |= shares if epoch > 1 else dict.fromkeys(shares, "")
        rows.append(row | {"alarm": "empty | masks" if epoch == 3 else ""})
    return [{key: str(value) for key, value in row.items()} for row in rows]


def _constant_weights(level: float, width: int = 1):
    """A network that answers `level` everywhere: a last layer without weights and with its log-odds as bias."""
    network = unet(WINDOW, width, name="constant")
    *rest, kernel, bias = network.get_weights()
    assert bias.shape == (1,)
    return [*rest, np.zeros_like(kernel), np.full_like(bias, np.log(level / (1 - level)))]


def _save(path, prefix, weights, **more):
    np.savez(path, **{f"{prefix}{index:04d}": array for index, array in enumerate(weights)}, **more)


def patients():
    native = oblique_grid()
    names = ("l0", "u0", "u1", "t0")
    return {name: patient(name, ball(native, (14 + k, 12, 7), 6.5), native) for k, name in enumerate(names)}


def hidden(record):
    return dataclasses.replace(record, label=None, native_label=None)


def make_study(folder: pathlib.Path) -> pathlib.Path:
    """Makes ``run``, ``data`` and ``truth`` in a folder: the same patients, all of them labelled."""
    made = patients()
    partitions = {"labelled": [made["l0"]], "unlabelled": [hidden(made[name]) for name in ("u0", "u1")]}
    # A patient without PET taught nobody and is not asked for.
    partitions["unlabelled"].append(without(hidden(dataclasses.replace(made["u1"], case_id="u2")), "pet"))
    info = write_dataset(folder / "data", {**partitions, "test": [made["t0"]]})
    write_dataset(folder / "truth", {"labelled": [made["l0"], made["u1"]], "test": [made["u0"]]})
    run = folder / "run"
    write_run(run, info)
    body = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(body | {"settings": SETTINGS, "initial_run": None}))
    rows = history()
    with open(run / "history.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    arrays = {}
    for name in NORMALISATION:
        for path in (run_folder.teacher_weights_file(run, 1, name), run_folder.stage_weights_file(run, 0, name)):
            _save(path, "", _constant_weights(LEVELS["before", name]))
        for index, array in enumerate(_constant_weights(LEVELS["after", name])):
            arrays[f"network/average/{name}/{index:04d}"] = array
        arrays[f"network/student/{name}/0000"] = np.zeros(1)
    np.savez(run_folder.checkpoint_file(run), **arrays)
    return folder
