"""A run's teachers, as they were before they taught and as they are in its last checkpoint, on whole patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from semicml_tf.evaluation import calibration
from semicml_tf.evaluation.calibration import Tally
from semicml_tf.evaluation.relearning import Relearning
from semicml_tf.evaluation.segment import CaseSegmenter, by_network
from semicml_tf.records.contract import CaseRecord
from semicml_tf.training import run_folder
from semicml_tf.training.run_folder import Run


@dataclasses.dataclass(frozen=True)
class Writers:
    """Teachers at one time; a soft label is theirs together.

    Attributes:
        when: ``before`` or ``after``.
        segmenters: by modality.
    """

    when: str
    segmenters: Mapping[str, CaseSegmenter]


def load(run: Run, found: Relearning, batch_size: int) -> list[Writers]:
    """The teachers before and after; the latter only where the run's last checkpoint still is of that stage.

    Raises:
        UserError: a file of the run lacks, or is damaged.
    """

    def segmenters(network: Callable):
        return {
            name: by_network(network(name), name, run.window, batch_size, batch_statistics=found.batch_statistics)
            for name in found.writers
        }

    def before(name):
        return run.network_of(run_folder.teacher_weights_file(run.folder, found.stage, name), name)

    def after(name):
        return run.network_of(run_folder.checkpoint_file(run.folder), name, f"network/{found.network}/{name}/")

    times = [Writers("before", segmenters(before))]
    if found.last:
        times.append(Writers("after" if found.finished else "so far", segmenters(after)))
    return times


def labels(writers: Writers, found: Relearning, record: CaseRecord) -> dict[str, np.ndarray]:
    """The record's soft labels: each writer's, and what several of them write together, by name."""
    from semicml_tf.methods.soft_labels import fused

    maps = {name: segmenter(record) for name, segmenter in writers.segmenters.items()}
    if found.hard:
        maps = {name: (q >= calibration.CUT).astype(np.float32) for name, q in maps.items()}
    if len(maps) == 1:
        return maps
    return maps | {joint_name(found): np.asarray(fused(list(maps.values()), found.fusion), np.float32)}


def joint_name(found: Relearning) -> str:
    """What the label that several teachers write together is called."""
    return f"{found.fusion} of {' and '.join(found.writers)}"


def measure(
    times: Iterable[Writers], found: Relearning, patients: Iterable[tuple[CaseRecord, np.ndarray]]
) -> list[dict]:
    """Every label at every time against the truth: rows of ``when``, ``label`` and `calibration.measures`.

    Args:
        patients: records and their true labels; read once, one in memory at a time.
    """
    times = list(times)
    tallies: dict[tuple[str, str], list[Tally]] = {}
    for record, truth in patients:
        for writers in times:
            for name, q in labels(writers, found, record).items():
                tallies.setdefault((writers.when, name), []).append(calibration.tally(q, truth))
    return [{"when": when, "label": name, **calibration.measures(held)} for (when, name), held in tallies.items()]
