"""Folders of runs with scores that a test chooses, evaluated or not: what `semicml_tf.report` reads. No TensorFlow."""

import json
import math
import pathlib
import types
from collections.abc import Sequence

import numpy as np

from semicml_tf.evaluation import case_images, report, trivial_baselines
from semicml_tf.evaluation.metrics.catalogue import POLICY
from semicml_tf.evaluation.score_cases import Answer, evaluate_predictions
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import LESION, LabelDefinition
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.postprocessing.steps import NONE
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.runs.run_folder import Run
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


CONTRASTS = ("t1", "t1ce", "t2", "flair")
REGIONS = LabelDefinition({"wt": (1, 2, 4), "tc": (1, 4), "et": (4,)})


def _nested(case_id: str, seed: int, shape=(40, 36, 12)) -> CaseRecord:
    """A patient of four contrasts with three regions, one within the other."""
    native = oblique_grid(shape)
    middle = [size // 2 for size in shape]
    masks = np.stack([ball(native, middle, radius) for radius in (12.0, 8.0, 4.0)])
    codes = REGIONS.join(masks)
    grid = native.for_network((0.0, 0.0, 0.0))
    base, order, flips = native.reordered()
    placed = np.flip(codes.transpose(order), [axis for axis, flip in enumerate(flips) if flip])
    noise = np.random.default_rng(seed)
    images = {
        name: np.clip((placed >> k % 3 & 1) * 0.6 + noise.normal(-0.3, 0.2, base.shape), -1, 1).astype(np.float16)
        for k, name in enumerate(CONTRASTS)
    }
    constants = dict.fromkeys(CONTRASTS, CONSTANTS["ct"])
    return CaseRecord(case_id, grid, images, constants, native, np.ascontiguousarray(placed), codes, labels=REGIONS)


def write_classes(folder: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    """A run of four modalities and three regions, evaluated on patients of these names; no TensorFlow.

    The networks of later modalities and of later patients are worse.
    """
    folder.mkdir(parents=True)
    best = {"dice": 0.7, "threshold": dict.fromkeys(REGIONS.names, 0.5), "step": 20, "stage": "semi_cml"}
    run = {
        "dataset": str(folder / "gone"),
        "data_hash": "d" * 64,
        "run_hash": "a" * 64,
        "modalities": list(CONTRASTS),
        "network": {"name": "unet", "window": 32, "width": 4, "levels": 5, "output_channels": 3},
        "window": 32,
        "width": 4,
        "labels": REGIONS.to_json(),
        "settings": {"method": ["semi_cml"], "epochs": [3], "seed": 7},
        "best": dict.fromkeys(CONTRASTS, best),
    }
    (folder / "run.json").write_text(json.dumps(run))
    columns = ["epoch", "stage", "step", "loss"]
    columns += [f"dice_{name}{one}" for name in CONTRASTS for one in ("", *(f"_{region}" for region in REGIONS.names))]
    lines = [
        f"{epoch},semi_cml,{10 * epoch},{3 - epoch / 2},"
        + ",".join(f"{0.9 - 0.1 * (k % 4) - 0.05 * (k // 4) - 0.3 / (epoch + 1):.3f}" for k in range(16))
        for epoch in range(3)
    ]
    (folder / "history.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    found = Run(
        folder,
        run["dataset"],
        run["data_hash"],
        run["run_hash"],
        CONTRASTS,
        NetworkSpec(window=32),
        run["best"],
        REGIONS,
    )
    output = folder / "evaluation" / "test"
    output.mkdir(parents=True)
    records = [_nested(name, seed) for seed, name in enumerate(names)]

    def network(number: int):
        def segment(one: CaseRecord) -> np.ndarray:
            shift = number + int(one.case_id[-1])
            soft = np.roll(one.labels.masks(one.label).astype(np.float32), shift, axis=2)
            return np.clip(
                0.9 * soft + np.random.default_rng(number).uniform(0, 0.09, soft.shape), 0, 1, dtype=np.float32
            )

        return segment

    fitted = {"blind ellipsoid": dict.fromkeys(REGIONS.names, trivial_baselines.Ellipsoid(10.0, 0.1))}
    segmenters = {name: network(number) for number, name in enumerate(CONTRASTS)}
    segmenters |= {name: trivial_baselines.segmenter(of_classes) for name, of_classes in fitted.items()}
    thresholds = {name: found.thresholds(name) for name in CONTRASTS}
    with case_images.CaseImages(output, CONTRASTS, thresholds, "shown", 4, REGIONS.names) as kept:
        results = evaluate_predictions(records, segmenters, thresholds=thresholds, on_case=kept.add)
        kept.move_to(output)
    info = types.SimpleNamespace(location="gone", data_hash="d" * 64, cases=lambda partition: ())
    body = report.build(
        command="python -m semicml_tf.evaluate --run=x",
        run=found,
        info=info,
        partition="test",
        batch_size=16,
        results=results,
        fitted=fitted,
        postprocessing={name: dict.fromkeys(REGIONS.names, NONE) for name in CONTRASTS},
    )
    (output / "metrics.json").write_text(json.dumps(body))
    return folder
