"""Finished cells of an experiment with scores that a test chooses: the files that its tables are made of."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.catalogue import POLICY
from semicml_tf.evaluation.scores import summarise
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.labels import PLAIN
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.records.shards import shard_name
from tests.support.evaluation_data import NORMALISATION

PAIR = ("ct", "pet")
DIAGONAL_MM = 100.0


def case_score(patient: str, dice: float) -> CaseScore:
    """A patient's scores: a DSC of 0 is a miss; else HD95 and ASSD are 10 and 1 mm."""
    missed = dice == 0
    return CaseScore(
        case_id=patient,
        outcome="missed" if missed else "both present",
        dice=dice,
        ppv=dice,
        sensitivity=dice,
        hd95_mm=DIAGONAL_MM if missed else 10.0,
        assd_mm=DIAGONAL_MM if missed else 1.0,
        truth_ml=5.0,
        prediction_ml=0.0 if missed else 5.0,
        iou=dice / (2 - dice),
        surface_dice=dice,
        volume_error_ml=-5.0 if missed else 0.0,
        volume_error_relative=-1.0 if missed else 0.0,
        lesions_true=1,
        lesions_predicted=int(not missed),
        lesions_found=int(not missed),
        lesions_missed=int(missed),
        lesions_false=0,
    )


def _row(name: str, modality: str | None, dice: Sequence[float], **target: str | None) -> dict:
    scores = [case_score(f"t{index}", value) for index, value in enumerate(dice)]
    return {
        "name": name,
        "kind": "blind" if modality is None else "network",
        "modality": modality,
        **target,
        "summary": summarise(scores),
        "cases": [dataclasses.asdict(score) for score in scores],
    }


def write_labelled(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A dataset.json with that many labelled cases and no shards."""
    folder.mkdir(parents=True, exist_ok=True)
    shard = shard_name("labelled", 0, 1)
    DatasetInfo(
        root=folder,
        modalities=PAIR,
        reference_modality="ct",
        spacing_mm=(0.0, 0.0, 0.0),
        normalisation=NORMALISATION,
        labels=PLAIN,
        layout="test",
        partitions={
            "labelled": tuple(
                CaseEntry(f"l{index}", shard=shard, index=index, shape=(1, 2, 2), lesion_slices=1)
                for index in range(count)
            )
        },
        shard_sha256={shard: "0" * 64},
    ).with_hash().save(folder)
    return folder


def finish(
    root: pathlib.Path,
    row: str,
    labelled: str,
    seed: int,
    dice: Mapping[str, Sequence[float]],
    *,
    dataset: pathlib.Path | None = None,
    flags: tuple[str, ...] = (),
    **changes,
) -> Cell:
    """A cell that is finished.

    Args:
        dice: by modality, of the test patients t0, t1, ...
        dataset: folder of its data, if they are to be found.
        changes: of the report.
    """
    modalities = tuple(dice)
    cell = Cell(row, modalities, labelled, seed, root / f"{'-'.join(modalities)}-{row}-{labelled}-{seed}", flags)
    patients = len(next(iter(dice.values())))
    data_hash = f"data-{labelled}-{seed}"
    body = {
        "report_version": 2,
        "surface_tolerance_mm": 2.0,
        "failure_dice": 0.5,
        "run": {"data_hash": data_hash, "run_hash": "b" * 64},
        "dataset": {"data_hash": data_hash},
        "partition": "test",
        "policy": POLICY,
        "notes": [],
        "blind": {
            "blind ellipsoid": {"margin_mm": 7.0, "labelled_dice": 0.2},
            "pet threshold": {"modality": "pet", "normalised": 0.0, "native": 2.5, "unit": "SUV", "labelled_dice": 0.3},
        },
        "versions": {"semicml_tf": "0"},
        "rows": [
            *(_row(name, name, values) for name, values in dice.items()),
            _row("blind ellipsoid", None, [0.25] * patients),
            _row("pet threshold", None, [0.375] * patients),
        ],
    }
    cell.metrics_path.parent.mkdir(parents=True)
    cell.metrics_path.write_text(json.dumps(body | changes))
    best = {name: {"dice": 0.5, "threshold": 0.4, "step": 50, "stage": "x"} for name in modalities}
    run = {"dataset": str(dataset or root / "gone"), "data_hash": data_hash, "run_hash": f"run-{row}-{seed}"}
    run |= {"modalities": list(modalities)}
    (cell.folder / "run.json").write_text(json.dumps({**run, "step": 100, "best": best}))
    return cell


def finish_classes(
    root: pathlib.Path, row: str, labelled: str, seed: int, dice: Mapping[str, Mapping[str, Sequence[float]]]
) -> Cell:
    """A cell of several regions that is finished.

    Args:
        dice: by region and modality, of the test patients t0, t1, ...
    """
    names = list(next(iter(dice.values())))
    each = {name: list(zip(*(of_class[name] for of_class in dice.values()))) for name in names}
    of_all = {name: [sum(values) / len(dice) for values in patients] for name, patients in each.items()}
    cell = finish(root, row, labelled, seed, of_all)
    body = json.loads(cell.metrics_path.read_text())
    by_target = {None: of_all, **dice}
    rows = [_row(name, name, held[name], target=target) for name in names for target, held in by_target.items()]
    for blind in body["blind"]:
        rows += [_row(blind, None, [0.25] * len(of_all[names[0]]), target=target) for target in by_target]
    body |= {"report_version": 3, "labels": {"classes": {one: [k + 1] for k, one in enumerate(dice)}}, "rows": rows}
    body["blind"] = {name: dict.fromkeys(dice, fitted) for name, fitted in body["blind"].items()}
    cell.metrics_path.write_text(json.dumps(body))
    return cell
