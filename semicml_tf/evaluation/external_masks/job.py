"""Scores the masks of another tool in the same way as a run's masks, beside the no-network baselines."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from semicml_tf.configuration import command_line
from semicml_tf.errors import UserError, doing
from semicml_tf.evaluation import data_provenance, overlay, report, score_cases, trivial_baselines
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.external_masks import files, reader
from semicml_tf.evaluation.external_masks.misplacement import Misplacement
from semicml_tf.evaluation.external_masks.reader import CaseMasks
from semicml_tf.evaluation.external_masks.values import MaskValues
from semicml_tf.evaluation.metrics.case_score import CaseScore, score
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import check_shards, read_cases
from semicml_tf.system import atomic_files, cpu, digest, locks, progress

_LISTED = 20


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredMasks:
    """The scores of a folder of masks, before they are written.

    Attributes:
        body: contents of metrics.json.
        panels: of the overlays.
        modalities: in the overlays.
        warnings: to be checked before the scores are used.
    """

    body: dict
    panels: Sequence[overlay.Panel]
    modalities: tuple[str, ...]
    warnings: tuple[str, ...]


def output_of(config: EvaluateConfig) -> pathlib.Path:
    """The folder to write. The default is beside the folder of the masks, which belongs to another tool."""
    masks = pathlib.Path(config.masks).resolve()
    return pathlib.Path(config.output or masks.with_name(f"{masks.name}-evaluation") / config.partition)


def evaluate_masks(
    config: EvaluateConfig, output: pathlib.Path, names: Sequence[str], stack: contextlib.ExitStack
) -> ScoredMasks:
    """Scores the masks case by case, on the patients' own grids.

    Args:
        output: the folder that will be written, which `stack` keeps locked.
        names: of the files that will be written.

    Raises:
        UserError: the data or the output cannot be used; a mask is damaged, on another grid, or has other values.
    """
    info = DatasetInfo.load(config.dataset, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
    if info.url:
        print(info.where, file=sys.stderr)
    modality = config.mask_modality
    if modality not in (None, *info.modalities):
        raise UserError(
            f"expected --mask_modality among {', '.join(info.modalities)}, got '{modality}'",
            remedy="Leave it out if the masks were drawn on several modalities",
        )
    cases_of_partition = data_provenance.cases_to_score(info, config.partition)
    wanted = [case.case_id for case in cases_of_partition if modality is None or modality in info.modalities_of(case)]
    if not wanted:
        raise UserError(f"no {config.partition} patient has {modality}", path=info.location, remedy="Check the data")
    values = MaskValues.parse(config.mask_values, info.labels)
    others = {case.case_id for cases in info.partitions.values() for case in cases} - set(wanted)
    folder = files.find(config.masks, wanted, info.labels, others)
    stack.enter_context(locks.writing(output))
    atomic_files.check_replaceable(output, names)
    labelled = info.partitions.get("labelled", ())
    check_shards(info, sorted({*(["labelled"] if labelled else []), config.partition}))

    fitted, notes = _baselines(info, labelled)
    cases, scored = _Cases(config, folder, values, (modality,) if modality else info.modalities), set(wanted)
    results = score_cases.evaluate_predictions(
        progress.bar(
            read_cases(info, cases_of_partition), total=len(cases_of_partition), desc=f"scoring {config.partition}"
        ),
        {name: trivial_baselines.segmenter(of_classes) for name, of_classes in fitted.items()},
        surface_tolerance_mm=config.surface_tolerance_mm,
        jobs=config.jobs or cpu.available(),
        on_case=lambda record, _: cases.add(record) if record.case_id in scored else None,
    )
    cause = cases.misplacement.cause()
    warnings = [cause] if cause else []
    if folder.missing:
        warnings.append(f"Without a mask, counted as missed: {_listed(folder.missing)}.")
    notes = [*warnings, *_notes(config, folder, cases), *notes]
    notes += data_provenance.one_patient_note(len(wanted), config.partition)
    body = report.build_of_masks(
        command=command_line("semicml_tf.evaluate", config),
        source={
            "name": config.name or pathlib.Path(config.masks).resolve().name,
            "modality": modality,
            "folder": str(config.masks),
            "values": {name: list(of_class) for name, of_class in values.by_class.items()},
            "files": cases.digests,
            "missing": list(folder.missing),
        },
        info=info,
        partition=config.partition,
        scores=cases.scores,
        results=results,
        fitted=fitted,
        notes=notes,
        surface_tolerance_mm=config.surface_tolerance_mm,
        failure_dice=config.failure_dice,
    )
    return ScoredMasks(body, cases.panels, cases.modalities, tuple(f"warning: {text}" for text in warnings))


def _baselines(info: DatasetInfo, labelled: Sequence) -> tuple[dict, list[str]]:
    """The no-network baselines, and a note if none can be fitted."""
    if not labelled:
        return {}, ["No no-network baselines: the dataset has no labelled patients to fit them on."]
    records = progress.bar(read_cases(info, labelled), total=len(labelled), desc="fitting the baselines")
    return trivial_baselines.fit(records, {name: info.normalisation[name] for name in info.modalities}), []


def _notes(config: EvaluateConfig, folder: files.MaskFolder, cases: _Cases) -> list[str]:
    notes = []
    if config.mask_modality is None:
        notes.append(
            "These masks are of no single modality: the method may need all modalities. They are compared with the "
            "network of each modality."
        )
    if folder.not_scored:
        notes.append(f"Not scored, because no case of this partition has the name: {_listed(folder.not_scored)}.")
    if cases.reordered:
        notes.append(f"Axes were reordered or reversed to match the patient's grid: {_listed(cases.reordered)}.")
    if cases.background:
        notes.append(
            f"Values that were taken for background: {_listed([str(value) for value in sorted(cases.background)])}."
        )
    if config.partition == "labelled":
        notes.append("The no-network baselines were fitted on these patients.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


class _Cases:
    """Scores cases one by one, and collects scores, overlays and notes for the report."""

    def __init__(
        self, config: EvaluateConfig, folder: files.MaskFolder, values: MaskValues, modalities: tuple[str, ...]
    ):
        self._config, self._found, self._values, self.modalities = config, folder, values, modalities
        self.scores: dict[str, list[CaseScore]] = {name: [] for name in values.by_class}
        self.digests: dict[str, dict[str, str]] = {}
        self.misplacement = Misplacement()
        self.panels: list[overlay.Panel] = []
        self.reordered: list[str] = []
        self.background: set[int] = set()

    def add(self, record: CaseRecord) -> None:
        """Reads and scores the masks of a case.

        Raises:
            UserError: a file cannot be used.
        """
        with doing(f"scoring the mask of case {record.case_id}"):
            self._add(record, self._read(record))

    def _read(self, record: CaseRecord) -> CaseMasks:
        case = self._found.files.get(record.case_id)
        if case is None:
            return CaseMasks({name: np.zeros(record.native_grid.shape, np.uint8) for name in self.scores})
        read = reader.read(case, record.native_grid, self._values)
        self.digests[record.case_id] = {
            class_name or "": digest.sha256(path) for class_name, path in case.paths.items()
        }
        self.background.update(read.background)
        if read.is_reordered:
            self.reordered.append(record.case_id)
        return read

    def _add(self, record: CaseRecord, read: CaseMasks) -> None:
        labels, grid = record.labels, record.native_grid
        ignored = labels.ignored(record.native_label)
        scores = {}
        for name, mask in read.masks.items():
            if ignored is not None:
                mask[ignored] = 0
            truth = labels.mask(record.native_label, name)
            score_of = score if record.case_id in self._found.files else _missed
            scores[name] = score_of(
                record.case_id, mask, truth, grid, surface_tolerance_mm=self._config.surface_tolerance_mm
            )
            self.scores[name].append(scores[name])
        drawn = functools.reduce(np.logical_or, read.masks.values())
        self.misplacement.add(drawn != 0, labels.any(record.native_label))
        if any(name in record.images for name in self.modalities):
            seen = np.stack([resample_mask(mask, grid, record.grid) for mask in read.masks.values()])
            answer = Answer(seen.astype(np.float32), seen != 0, scores)
            self.panels.append(overlay.panel(record, self.modalities, dict.fromkeys(self.modalities, answer)))


def _missed(case_id: str, mask: np.ndarray, truth: np.ndarray, grid: Grid, *, surface_tolerance_mm: float) -> CaseScore:
    """The score of a case without a file: missed, even if the truth is empty and an empty mask would be correct."""
    if truth.any():
        return score(case_id, mask, truth, grid, surface_tolerance_mm=surface_tolerance_mm)
    stand_in = np.zeros(grid.shape, np.uint8)
    stand_in[0, 0, 0] = 1
    missed = score(case_id, mask, stand_in, grid, surface_tolerance_mm=surface_tolerance_mm)
    return dataclasses.replace(
        missed, truth_ml=0.0, volume_error_ml=0.0, volume_error_relative=None, lesions_true=0, lesions_missed=0
    )
