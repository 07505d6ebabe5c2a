"""A run's teachers at the beginning of the stage and in the last checkpoint, applied to whole patients."""

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
    """The teachers at one time; together they write a soft label.

    Attributes:
        when: ``before`` or ``after``.
        segmenters: by modality.
        thresholds: by modality, the latest choice of validation, as `relearning.gaps` gives it.
        fusion: slopes and offsets of the label, the latest fit to validation patients; None: the label has none.
    """

    when: str
    segmenters: Mapping[str, CaseSegmenter]
    thresholds: Mapping[str, float | Mapping[str, float]]
    fusion: FittedFusion | None = None


def load(run: Run, found: Relearning, gaps: Sequence[dict], batch_size: int) -> list[Writers]:
    """The teachers before and after the stage; the latter only if the last checkpoint belongs to that stage.

    Args:
        gaps: what `relearning.gaps` returned, for the thresholds.
        batch_size: slices in one call of a network.

    Raises:
        UserError: a file of the run is missing or damaged.
    """

    how, cuts = found.settings, {row["when"]: row["threshold"] for row in gaps}
    classes = run.labels.names

    def writers(when: str, network: Callable, fusion: FittedFusion | None) -> Writers:
        segmenters = {
            name: by_network(
                network(name),
                name,
                run.patch,
                batch_size,
                classes=len(classes),
                batch_statistics=how.teacher_batch_statistics,
            )
            for name in found.writers
        }
        middle = calibration.CUT if len(classes) == 1 else dict.fromkeys(classes, calibration.CUT)
        return Writers(when, segmenters, cuts.get(when, dict.fromkeys(found.writers, middle)), fusion)

    def before(name):
        return run.network_of(run_folder.teacher_weights_file(run.folder, found.stage, name), name)

    def after(name):
        return run.network_of(run_folder.checkpoint_file(run.folder), name, f"network/{how.teacher}/{name}/")

    times = [writers("before", before, _fusion(run, found, last=False))]
    if found.last:
        times.append(writers("after" if found.finished else "so far", after, _fusion(run, found, last=True)))
    return times


def _fusion(run: Run, found: Relearning, *, last: bool) -> FittedFusion | None:
    """The fit when the stage began, or that of the last checkpoint."""
    from semicml_tf.methods.fitted_fusion import FittedFusion
    from semicml_tf.training import checkpoint

    if found.settings.label_fusion != "fitted":
        return None
    fusion = FittedFusion(found.writers, len(run.labels.names), run.labels.exclusive, found.settings.fusion_deviation)
    if not last:
        fusion.load(run_folder.fusion_file(run.folder, found.stage))
        return fusion
    path = run_folder.checkpoint_file(run.folder)
    try:
        fusion.restore(checkpoint.read_meta(path)["method_state"]["fusion"])
    except (KeyError, TypeError, ValueError) as error:
        problem = f"expected {checkpoint.WHAT} with the fitted slopes of the teachers ({error!r})"
        raise UserError(problem, path=path, remedy="Train the run again") from error
    return fusion


def labels(writers: Writers, found: Relearning, record: CaseRecord) -> dict[str, np.ndarray]:
    """By name, the writers' maps of a record and the label fused from them, (classes, slices, rows, columns).

    A writer whose image the record lacks writes no map. Without any map there is no label: {}.
    """
    maps = _maps(writers, record)
    if not maps or found.label_is_map:
        return maps
    return maps | {found.label_name: _fused(maps, writers, found, record)}


def labels_alone(writers: Writers, found: Relearning, record: CaseRecord) -> dict[str, np.ndarray]:
    """As `labels`, but instead of a writer's map the label that this writer would write alone."""
    maps = _maps(writers, record)
    alone = {name: _fused({name: soft}, writers, found, record) for name, soft in maps.items()}
    return alone | {found.label_name: _fused(maps, writers, found, record)} if maps else {}


def _maps(writers: Writers, record: CaseRecord) -> dict[str, np.ndarray]:
    answers = {name: segmenter(record) for name, segmenter in writers.segmenters.items()}
    return {name: soft for name, soft in answers.items() if soft is not None}


def _fused(maps: Mapping[str, np.ndarray], writers: Writers, found: Relearning, record: CaseRecord) -> np.ndarray:
    from semicml_tf.methods.soft_labels import soft_label

    # The fusion takes the classes as the last axis.
    last = {name: np.moveaxis(soft, 0, -1) for name, soft in maps.items()}
    cuts = {
        name: np.array([*cut.values()], np.float32) if isinstance(cut, Mapping) else cut
        for name, cut in writers.thresholds.items()
    }
    fused = soft_label(last, cuts, found.settings, exclusive=record.labels.exclusive, fusion=writers.fusion)
    return np.moveaxis(np.asarray(fused, np.float32), -1, 0)


def measure(times: Iterable[Writers], found: Relearning, records: Iterable[CaseRecord]) -> list[dict]:
    """Compares each label at each time with the truth: rows of ``when``, ``label`` and `calibration.measures`.

    With several classes, there is a row for each; its ``label`` ends with the class. Ignored voxels do not count. A
    modality's own label is measured on the patients who have the modality.

    Args:
        records: with their true labels; read once, one at a time in memory.
    """
    times = list(times)
    tallies: dict[tuple[str, str], list[Tally]] = {}
    for record in records:
        target, truth = record.labels, record.label
        for writers in times:
            made = labels(writers, found, record)
            for name in dict.fromkeys([*writers.segmenters, *made]):
                for number, one in enumerate(target.names):
                    key = writers.when, name if len(target.names) == 1 else f"{name}, {one}"
                    counts = tallies.setdefault(key, [])
                    if name in made:
                        mask, ignored = target.mask(truth, one), target.ignored(truth)
                        counts.append(calibration.tally(made[name][number], mask, ignored))
    return [
        {"when": when, "label": name, **calibration.measures(counts)}
        for (when, name), counts in tallies.items()
        if counts
    ]
