"""Folders of runs with scores that a test chooses, evaluated or not: what `semicml_tf.report` reads. No TensorFlow."""

import json
import math
import pathlib
import types

import numpy as np

from semicml_tf.evaluation import case_images
from semicml_tf.evaluation.metrics.catalogue import POLICY
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import LESION
from semicml_tf.records.case_record import CaseRecord
from tests.support.evaluation_data import CONSTANTS, ball, oblique_grid

MODALITIES = ("ct", "pet")
THRESHOLDS = {"ct": 0.3, "pet": 0.5}
CUTS = {name: {LESION: cut} for name, cut in THRESHOLDS.items()}


def record(case_id: str, seed: int, shape=(18, 16, 9)) -> CaseRecord:
    """A patient with a ball for a lesion in noise."""
    native = oblique_grid(shape)
    label = ball(native, [size // 2 for size in shape], 5.0)
    grid = native.for_network((0.0, 0.0, 0.0))
    base, order, flips = native.reordered()
    placed = np.flip(label.transpose(order), [axis for axis, flip in enumerate(flips) if flip])
    noise = np.random.default_rng(seed)
    images = {
        name: np.clip(placed * 0.8 + noise.normal(-0.3, 0.2, base.shape), -1, 1).astype(np.float16)
        for name in MODALITIES
    }
    return CaseRecord(case_id, grid, images, CONSTANTS, native, np.ascontiguousarray(placed), label)


def probabilities(one: CaseRecord, seed: int) -> dict[str, np.ndarray]:
    """Networks' answers that are right but for noise."""
    noise = np.random.default_rng(seed)
    return {
        name: np.clip(one.label * 0.9 + noise.uniform(0, 0.2, one.label.shape), 0, 1).astype(np.float32)
        for name in MODALITIES
    }


def answers(one: CaseRecord, seed: int, dice: dict[str, float]) -> dict[str, Answer]:
    """What an evaluation hands to `CaseImages`: a corner of the pet's mask was dropped by post-processing."""
    soft = probabilities(one, seed)
    masks = {name: soft[name] >= THRESHOLDS[name] for name in MODALITIES}
    masks["pet"][:, : one.label.shape[1] // 2] = False
    return {
        name: Answer(soft[name][None], masks[name][None], {LESION: types.SimpleNamespace(dice=dice[name])})
        for name in MODALITIES
    }


def _case(case_id: str, dice: float) -> dict:
    missed = dice == 0
    return {
        "case_id": case_id,
        "outcome": "missed" if missed else "both present",
        "dice": dice,
        "ppv": dice,
        "sensitivity": None if missed else dice,
        "hd95_mm": 90.0 if missed else 100.0 * (1 - dice),
        "assd_mm": 90.0 if missed else 10.0 * (1 - dice),
        "truth_ml": 5.0,
        "prediction_ml": 0.0 if missed else 5.0,
        "iou": dice / (2 - dice),
        "surface_dice": dice,
        "volume_error_ml": -5.0 if missed else 0.0,
        "volume_error_relative": -1.0 if missed else 0.0,
        "lesions_true": 1,
        "lesions_predicted": int(not missed),
        "lesions_found": int(not missed),
        "lesions_missed": int(missed),
        "lesions_false": 0,
    }


def _row(name: str, kind: str, dice: dict[str, float]) -> dict:
    values = list(dice.values())
    mean = math.fsum(values) / len(values)
    missed = sum(value == 0 for value in values)
    summary = {"cases": len(values), "missed": missed, "dice": {"mean": mean, "sd": 0.1, "n": len(values)}}
    cases = [_case(case_id, value) for case_id, value in dice.items()]
    return {
        "name": name,
        "kind": kind,
        "modality": name if kind == "network" else None,
        "summary": summary,
        "cases": cases,
    }


def write(
    folder: pathlib.Path,
    dice: dict[str, dict[str, float]],
    *,
    images: str | None = "shown",
    labelled: int = 4,
    method=("semi_cml", "prel"),
    evaluated: bool = True,
    shape=(18, 16, 9),
) -> pathlib.Path:
    """A run's folder.

    Args:
        dice: by modality and patient.
        images: as --case_images; None stands for an evaluation of before there were any.
    """
    folder.mkdir(parents=True)
    best = {name: {"dice": 0.7, "threshold": cut, "step": 20, "stage": method[-1]} for name, cut in THRESHOLDS.items()}
    run = {
        "dataset": str(folder / "gone"),
        "data_hash": "d" * 64,
        "run_hash": "a" * 64,
        "modalities": list(MODALITIES),
        "settings": {"method": list(method), "epochs": [2, 2], "seed": 7},
        "command": ["train.py", "--dataset=some where"],
        "best": best,
    }
    (folder / "run.json").write_text(json.dumps(run))
    lines = ["epoch,stage,step,loss,dice_ct,dice_pet,teacher"]
    for epoch, (ct, pet) in enumerate(((0.2, 0.5), (0.3, 0.6), (0.5, 0.65), (0.6, 0.7))):
        stage, teacher = (method[0], "") if epoch < 2 else (method[-1], "pet")
        lines.append(f"{epoch},{stage},{10 * epoch},{3 - epoch / 2},{ct},{pet},{teacher}")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    (folder / "flags.flagfile").write_text("--seed=7\n")
    if not evaluated:
        return folder
    output = folder / "evaluation" / "test"
    output.mkdir(parents=True)
    names = list(dict.fromkeys(name for held in dice.values() for name in held))
    metrics = {
        "report_version": 2,
        "surface_tolerance_mm": 2.0,
        "failure_dice": 0.5,
        "command": "python -m semicml_tf.evaluate --run=x",
        "run": {"run_hash": run["run_hash"], "best": best},
        "dataset": {"data_hash": "d" * 64},
        "partition": "test",
        "blind": {"blind ellipsoid": {"margin_mm": 10.0, "labelled_dice": 0.1}},
        "lacking": {name: [] for name in MODALITIES},
        "policy": POLICY,
        "notes": [],
        "rows": [
            *(_row(name, "network", held) for name, held in dice.items()),
            _row("blind ellipsoid", "blind", dict.fromkeys(names, 0.1)),
        ],
    }
    (output / "metrics.json").write_text(json.dumps(metrics))
    if images:
        with case_images.CaseImages(output, MODALITIES, CUTS, images, labelled) as kept:
            for seed, name in enumerate(names):
                one = record(name, seed, shape)
                given = {modality: dice[modality][name] for modality in MODALITIES}
                kept.add(one, answers(one, seed, given))
            kept.move_to(output)
    return folder


def grid_of(path: pathlib.Path) -> tuple[np.ndarray, Grid]:
    """Values and grid of a NIfTI file."""
    import nibabel

    image = nibabel.load(path)
    return image.get_fdata(), Grid(image.shape, image.affine)
