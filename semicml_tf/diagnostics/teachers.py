"""Applies a run's teachers, at the start of the stage and of the last checkpoint, to whole patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from semicml_tf.diagnostics.relearning import Relearning
from semicml_tf.errors import UserError
from semicml_tf.evaluation import calibration
from semicml_tf.evaluation.calibration import Tally
from semicml_tf.evaluation.segment import CaseSegmenter, by_network
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run

if TYPE_CHECKING:
    from semicml_tf.methods.fitted_fusion import FittedFusion


@dataclasses.dataclass(frozen=True)
class Writers:
    """The teachers that together write a soft label, at one time.

    Attributes:
        when: ``before``, ``after`` or ``so far``.
        segmenters: by modality.
        thresholds: by modality, the latest choice on validation, as in `relearning.gaps`.
        fusion: slopes and offsets of the latest fit to validation patients; None for labels without a fit.
    """

    when: str
    segmenters: Mapping[str, CaseSegmenter]
    thresholds: Mapping[str, float | Mapping[str, float]]
    fusion: FittedFusion | None = None


def load(run: Run, stage: Relearning, gaps: Sequence[dict], batch_size: int) -> list[Writers]:
    """Loads the teachers before the stage and, if the last checkpoint belongs to the stage, those of the checkpoint.

    Args:
        gaps: result of `relearning.gaps`, for the thresholds.
        batch_size: slices in one call of a network.

    Raises:
        UserError: a file of the run is missing or damaged.
    """

    settings, cuts = stage.settings, {row["when"]: row["threshold"] for row in gaps}
    classes = run.labels.names

    def writers(when: str, network: Callable, fusion: FittedFusion | None) -> Writers:
        segmenters = {
            name: by_network(
                network(name),
                name,
                run.patch,
                batch_size,
                classes=len(classes),
                batch_statistics=settings.teacher_batch_statistics,
            )
            for name in stage.writers
        }
        middle = calibration.CUT if len(classes) == 1 else dict.fromkeys(classes, calibration.CUT)
        return Writers(when, segmenters, cuts.get(when, dict.fromkeys(stage.writers, middle)), fusion)

    def before(name):
        return run.network_of(run_folder.teacher_weights_file(run.folder, stage.number, name), name)

    def after(name):
        return run.network_of(run_folder.checkpoint_file(run.folder), name, f"network/{settings.teacher}/{name}/")

    times = [writers("before", before, _fusion(run, stage, last=False))]
    if stage.last:
        times.append(writers("after" if stage.finished else "so far", after, _fusion(run, stage, last=True)))
    return times


def _fusion(run: Run, stage: Relearning, *, last: bool) -> FittedFusion | None:
    """The fit at the start of the stage, or in the last checkpoint; None for other fusions."""
    from semicml_tf.methods.fitted_fusion import FittedFusion
    from semicml_tf.training import checkpoint

    if stage.settings.label_fusion != "fitted":
        return None
    fusion = FittedFusion(stage.writers, len(run.labels.names), run.labels.exclusive, stage.settings.fusion_deviation)
    if not last:
        fusion.load(run_folder.fusion_file(run.folder, stage.number))
        return fusion
    path = run_folder.checkpoint_file(run.folder)
    try:
        fusion.restore(checkpoint.read_meta(path)["method_state"]["fusion"])
    except (KeyError, TypeError, ValueError) as error:
        problem = f"expected {checkpoint.WHAT} with the fitted slopes of the teachers ({error!r})"
        raise UserError(problem, path=path, remedy="Train the run again") from error
    return fusion


def labels(writers: Writers, stage: Relearning, record: CaseRecord) -> dict[str, np.ndarray]:
    """The writers' maps of a record and the fused label, by name, (classes, slices, rows, columns).

    Writers whose image the record lacks have no map. The result is {} without any map.
    """
    maps = _maps(writers, record)
    if not maps or stage.label_is_map:
        return maps
    return maps | {stage.label_name: _fused(maps, writers, stage, record)}


def labels_alone(writers: Writers, stage: Relearning, record: CaseRecord) -> dict[str, np.ndarray]:
    """Like `labels`, with the label that each writer would write alone instead of the writer's map."""
    maps = _maps(writers, record)
    alone = {name: _fused({name: soft}, writers, stage, record) for name, soft in maps.items()}
    return alone | {stage.label_name: _fused(maps, writers, stage, record)} if maps else {}


def _maps(writers: Writers, record: CaseRecord) -> dict[str, np.ndarray]:
    answers = {name: segmenter(record) for name, segmenter in writers.segmenters.items()}
    return {name: soft for name, soft in answers.items() if soft is not None}


def _fused(maps: Mapping[str, np.ndarray], writers: Writers, stage: Relearning, record: CaseRecord) -> np.ndarray:
    from semicml_tf.methods.soft_labels import soft_label

    # The fusion needs the classes as the last axis.
    last = {name: np.moveaxis(soft, 0, -1) for name, soft in maps.items()}
    cuts = {
        name: np.array([*cut.values()], np.float32) if isinstance(cut, Mapping) else cut
        for name, cut in writers.thresholds.items()
    }
    fused = soft_label(last, cuts, stage.settings, exclusive=record.labels.exclusive, fusion=writers.fusion)
    return np.moveaxis(np.asarray(fused, np.float32), -1, 0)


def measure(times: Iterable[Writers], stage: Relearning, records: Iterable[CaseRecord]) -> list[dict]:
    """Compares each label at each time with the truth: rows of ``when``, ``label`` and `calibration.measures`.

    Several classes have one row each, whose ``label`` ends with the class. Ignored voxels do not count. A modality's
    own label is measured on the patients who have the modality.

    Args:
        records: with their true labels; read once, one at a time in memory.
    """
    times = list(times)
    tallies: dict[tuple[str, str], list[Tally]] = {}
    for record in records:
        target, truth = record.labels, record.label
        for writers in times:
            soft_labels = labels(writers, stage, record)
            for name in dict.fromkeys([*writers.segmenters, *soft_labels]):
                for number, class_name in enumerate(target.names):
                    key = writers.when, name if len(target.names) == 1 else f"{name}, {class_name}"
                    counts = tallies.setdefault(key, [])
                    if name in soft_labels:
                        mask, ignored = target.mask(truth, class_name), target.ignored(truth)
                        counts.append(calibration.tally(soft_labels[name][number], mask, ignored))
    return [
        {"when": when, "label": name, **calibration.measures(counts)}
        for (when, name), counts in tallies.items()
        if counts
    ]
