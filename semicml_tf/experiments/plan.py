"""The plan of an experiment, checked before any run starts."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal

from semicml_tf.conversion.splitting.split import EXCLUDED, NAMES, Split, checked, content_hash, read
from semicml_tf.errors import UserError
from semicml_tf.experiments import external_row, grid, method_row, splits
from semicml_tf.experiments.config import CHOSEN, NONE, ExperimentConfig
from semicml_tf.experiments.folds import Folds, People
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.study import Study
from semicml_tf.records import dataset
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import atomic_files, json_files


@dataclasses.dataclass(frozen=True)
class _Hash:
    data_hash: str


@dataclasses.dataclass(frozen=True)
class _Scoring:
    postprocessing: Literal["none", "chosen"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """An experiment.

    Attributes:
        study: flagfiles of all commands.
        output: folder of the experiment.
        source: folder of the volumes; None if the experiment makes a phantom.
        base: the study's own split; None if a dataset is given.
        cells: the runs, in order.
        reference: name of the row that others are compared with.
        baseline: name of the row that learns from labelled patients only; None without one.
        folds: of a cross-validation, which has cells for each fold; None without folds.
        given: folder of the dataset from which the folds are made; None if the experiment converts one.
        external: cells of rows of another tool. The experiment runs nothing for them.
        chooses_postprocessing: whether each run's post-processing is chosen before the run is scored.
    """

    study: Study
    output: pathlib.Path
    source: pathlib.Path | None
    base: Split | None
    cells: tuple[Cell, ...]
    reference: str
    baseline: str | None = None
    folds: Folds | None = None
    given: pathlib.Path | None = None
    external: tuple[Cell, ...] = ()
    chooses_postprocessing: bool = False

    @property
    def volumes(self) -> pathlib.Path:
        """Folder of the volumes, made by the experiment or given."""
        return self.source or self.output / "volumes"

    def dataset(self, cell: Cell) -> pathlib.Path:
        """Folder of the cell's dataset."""
        return self.output / "datasets" / cell.data_name

    def whole(self, cell: Cell) -> pathlib.Path:
        """Folder of the dataset that the cell's dataset is a view of, in a cross-validation."""
        return self.given or self.output / "datasets" / "-".join(cell.modalities)

    def whole_name(self, cell: Cell) -> str:
        """Name of the dataset of `whole` in the tables and in the records."""
        return self.whole(cell).name if self.given is None else "dataset"

    def whole_record(self, cell: Cell) -> pathlib.Path:
        """File with the hash of the dataset of `whole` at the start of the cross-validation."""
        return self.output / "made" / f"{self.whole_name(cell)}.hash.json"

    @property
    def scoring_record(self) -> pathlib.Path:
        """File with the post-processing at the start of the experiment."""
        return self.output / "made" / "scoring.json"

    def whole_hash(self, cell: Cell) -> str:
        """The hash of the dataset of `whole` at the start of the cross-validation.

        Raises:
            UserError: the cross-validation has not started, or the record cannot be read.
        """
        what = "the hash of a cross-validation's data"
        return json_files.read(self.whole_record(cell), _Hash, what=what).data_hash

    def split_file(self, cell: Cell) -> pathlib.Path:
        """File of the cell's split, the same for all sets of modalities."""
        fold = "" if cell.fold is None else f"-fold{cell.fold}"
        return self.output / "splits" / f"{cell.labelled}-seed{cell.seed}{fold}.json"

    @property
    def whole_split_file(self) -> pathlib.Path:
        """File of the split of a cross-validation's conversion."""
        return self.output / "splits" / "whole.json"

    def is_converted(self, cell: Cell) -> bool:
        """Whether the cell's dataset exists."""
        return (self.dataset(cell) / dataset.FILE_NAME).is_file()

    def hashes(self) -> dict[str, str]:
        """The data hash of each existing dataset, by name."""
        return {
            cell.data_name: DatasetInfo.load(self.dataset(cell)).data_hash
            for cell in self.cells
            if self.is_converted(cell)
        }

    def shown_hashes(self) -> dict[str, str]:
        """The data hashes in the tables. With folds, they are the hashes of the datasets of `whole`."""
        if self.folds is None:
            return self.hashes()
        return {self.whole_name(cell): self.whole_hash(cell) for cell in self.cells}

    def text(self) -> str:
        """A text with the finished and the unfinished steps."""
        datasets = {cell.data_name: self.is_converted(cell) for cell in self.cells}
        finished = sum(cell.finished for cell in self.cells)
        lines = [
            f"{self.output}: {len(datasets)} datasets, {sum(datasets.values())} made; {len(self.cells)} runs, "
            f"{finished} finished",
            self._patients(),
        ]
        by_row = collections.defaultdict(list)
        for cell in (*self.cells, *self.external):
            by_row[cell.row].append(cell)
        for row, cells in by_row.items():
            sets, counts, seeds = (
                ",".join(dict.fromkeys(str(part) for part in parts))
                for parts in (
                    (":".join(cell.modalities) for cell in cells),
                    (cell.labelled for cell in cells),
                    (cell.seed for cell in cells),
                )
            )
            lines.append(
                f"  {row}: {sets}, labelled {counts}, seeds {seeds}: {sum(cell.finished for cell in cells)} of "
                f"{len(cells)}{' (reference)' if row == self.reference else ''}"
            )
        return "\n".join(lines)

    def _patients(self) -> str:
        if self.folds:
            of = f"{self.given}" if self.given else f"{len(_everybody(self.base))} patients"
            return f"{self.folds.number} folds of {of}, drawn by each seed; each patient is tested once per seed"
        return (
            f"pool of {len(splits.pool_of(self.base))} patients; {len(self.base['validation'])} for validation, "
            f"{len(self.base['test'])} to test on"
        )


def _everybody(base: Split) -> list[str]:
    return sorted(name for partition in NAMES if partition != EXCLUDED for name in base[partition])


def make(config: ExperimentConfig) -> Plan:
    """The plan of an experiment.

    Raises:
        UserError: an option, a row or the split is wrong.
    """
    study = Study(config.flagfile)
    given = pathlib.Path(config.dataset) if config.dataset else None
    info = DatasetInfo.load(given) if given else None
    folds = config.folds_of(config.folds) if config.has_folds else None
    if not given:
        _check_convert(study, has_folds=bool(folds))
    modalities = info.modalities if info else study.options("convert")["modalities"]
    where = {
        "modality_sets": method_row.parse_modality_sets(config.modality_sets or config.pairs or [":".join(modalities)]),
        "labelled": method_row.parse_labelled(config.labelled_patients),
        "seeds": method_row.parse_seeds(config.seeds),
    }
    table = method_row.parse_rows(config.row, **where)
    names = [row.name for row in table]
    external = external_row.parse(config.external_row, taken=names, has_folds=bool(folds), **where)
    for flag, may_be in (("reference", [*names, *(row.name for row in external)]), ("baseline", names)):
        if (row := getattr(config, flag)) and row not in may_be:
            raise UserError(
                f"expected one of the rows in --{flag}, got '{row}'",
                remedy=f"Name one of {', '.join(may_be)}",
            )
    planned = _plan_of_runs(config, study, info, folds, table)
    cells = external_row.cells_of(external, config.partition, folds.number if folds else None)
    return scored(dataclasses.replace(planned, external=tuple(cells)), config.postprocessing)


def _plan_of_runs(
    config: ExperimentConfig,
    study: Study,
    info: DatasetInfo | None,
    folds: Folds | None,
    table: Sequence[method_row.Row],
) -> Plan:
    output = pathlib.Path(config.output)
    source = pathlib.Path(config.input) if config.input else None
    reference = config.reference or table[0].name
    if info:
        return over_folds(
            study, output, info, folds, table, config.partition, reference=reference, baseline=config.baseline
        )
    base = splits.base_split(study, source, config.base_split, ("validation", "test") if folds is None else ())
    if folds:
        pools = _pools(folds, len(_everybody(base)), table)
    else:
        pools = {None: len(splits.pool_of(base))}
    cells = grid.cells_of(table, output, study, pools, config.partition)
    return Plan(study, output, source, base, tuple(cells), reference, config.baseline, folds)


def over_folds(
    study: Study,
    output: pathlib.Path,
    info: DatasetInfo,
    folds: Folds,
    rows: Sequence[method_row.Row],
    partition: str = "test",
    *,
    reference: str,
    baseline: str | None = None,
) -> Plan:
    """The plan of a cross-validation on a converted dataset.

    Raises:
        UserError: the folds do not match the dataset's patients, or a row has other modalities.
    """
    if info.url:
        raise UserError(
            "expected a local dataset, from which folds can be made", path=info.url, remedy="Copy the dataset first"
        )
    for row in rows:
        with method_row.in_row(row.name):
            for modalities in row.modality_sets:
                if modalities != info.modalities:
                    raise UserError(
                        f"expected the dataset's modalities {':'.join(info.modalities)}, got {':'.join(modalities)}",
                        path=info.location,
                        remedy="Leave --modality_sets out, or convert these modalities",
                    )
    people = People.of(info, with_volumes=folds.stratified)
    pools = _pools(folds, len(people.labelled), rows)
    folds.deal(people, seed=0)  # raises UserError if the folds of a file do not match
    cells = grid.cells_of(rows, output, study, pools, partition, unlabelled=len(people.unlabelled))
    return Plan(study, output, None, None, tuple(cells), reference, baseline, folds, info.root)


def _pools(folds: Folds, patients: int, rows: Sequence[method_row.Row]) -> dict[int | None, int]:
    """Number of patients who may be labelled, by fold."""
    folds.check(patients, [])
    for row in rows:
        with method_row.in_row(row.name):
            folds.check(patients, row.labelled)
    return {fold: folds.pool(fold, patients) for fold in range(folds.number)}


def scored(plan: Plan, postprocessing: str) -> Plan:
    """The plan with the post-processing of its masks.

    Args:
        plan: of the experiment.
        postprocessing: ``none`` or ``chosen``.

    Raises:
        UserError: finished runs were scored with other post-processing.
    """
    if plan.scoring_record.exists():
        what = "the post-processing of an experiment"
        begun = json_files.read(plan.scoring_record, _Scoring, what=what).postprocessing
    else:  # of an earlier version, without post-processing
        begun = NONE if any(cell.finished for cell in plan.cells) else postprocessing
    if begun != postprocessing:
        raise UserError(
            f"this experiment was started with --postprocessing={begun}, got {postprocessing}",
            path=plan.output,
            remedy=f"Pass --postprocessing={begun}, or another --output",
        )
    return dataclasses.replace(plan, chooses_postprocessing=postprocessing == CHOSEN)


def write_scoring(plan: Plan) -> None:
    """Records the post-processing at the start of the experiment."""
    atomic_files.write_json(
        plan.scoring_record, dataclasses.asdict(_Scoring(CHOSEN if plan.chooses_postprocessing else NONE))
    )


def _check_convert(study: Study, *, has_folds: bool) -> None:
    """Raises UserError for options of the conversion that an experiment sets itself."""
    convert = study.options("convert")
    for name in ("split_seed", "fold"):
        if convert[name] is not None:
            raise UserError(
                f"--{name} is not allowed in an experiment, which sets the split of each conversion",
                remedy="Remove the flag, and pass the split as --base_split=FILE.json",
            )
    if has_folds and convert["plan"] != "none":
        raise UserError(
            f"--plan={convert['plan']} would read the labels of patients who are tested in a fold",
            remedy="Pass --spacing_mm and --normalisation, and leave --plan out",
        )


def write_splits(plan: Plan) -> None:
    """Writes each cell's split into the experiment's folder. With folds, the dataset must exist.

    Raises:
        UserError: the folder has a split of another base split or other folds; the datasets have different patients.
    """
    people = _people(plan) if plan.folds else None
    incomplete = () if plan.source or plan.folds else splits.incomplete_of_phantom(plan.study)
    for cell in {plan.split_file(cell): cell for cell in plan.cells}.values():
        if plan.folds:
            split = plan.folds.split(people, cell.seed, cell.fold, cell.labelled)
        else:
            split = splits.drawn(plan.base, cell.labelled, cell.seed, incomplete)
        _write_split(plan.split_file(cell), split)


def write_whole_split(plan: Plan) -> None:
    """Writes the split of a cross-validation's conversion: all patients are labelled."""
    names = {"labelled": _everybody(plan.base), EXCLUDED: plan.base[EXCLUDED]}
    _write_split(plan.whole_split_file, checked(names))


def _write_split(path: pathlib.Path, split: Split) -> None:
    body = split.to_json()
    if path.exists() and content_hash(read(path).to_json()) != content_hash(body):
        raise UserError(
            "this experiment was started with another split",
            path=path,
            remedy="Pass the same data, --base_split and folds as at the start, or another --output",
        )
    atomic_files.write_json(path, body)


def _people(plan: Plan) -> People:
    """The patients of the datasets. All sets of modalities must have the same patients with a label."""
    people_by_folder: dict[pathlib.Path, People] = {}
    for cell in plan.cells:
        folder = plan.whole(cell)
        if folder not in people_by_folder:
            people_by_folder[folder] = People.of(DatasetInfo.load(folder), with_volumes=plan.folds.stratified)
    (first_folder, first), *others = people_by_folder.items()
    for folder, people in others:
        if people.labelled != first.labelled:
            odd = sorted(set(people.labelled) ^ set(first.labelled))
            raise UserError(
                f"the datasets {first_folder} and {folder} have different patients with a label, such as {odd[0]}",
                remedy="Exclude this patient in --base_split, or run an experiment for each set of modalities",
            )
    return dataclasses.replace(
        first, incomplete=frozenset().union(*(people.incomplete for people in people_by_folder.values()))
    )


def check_data(plan: Plan) -> None:
    """Records the hash of each dataset of a cross-validation, or compares the hash with the record.

    Raises:
        UserError: a dataset has changed since the cross-validation started.
    """
    for folder, cell in {plan.whole(cell): cell for cell in plan.cells}.items() if plan.folds else ():
        data_hash = DatasetInfo.load(folder).data_hash
        if not plan.whole_record(cell).exists():
            atomic_files.write_json(plan.whole_record(cell), {"data_hash": data_hash})
        former = plan.whole_hash(cell)
        if former != data_hash:
            raise UserError(
                f"this dataset has changed since the cross-validation started (data hash {former[:12]}, now "
                f"{data_hash[:12]})",
                path=folder,
                remedy="Pass the same data as at the start, or another --output",
            )
