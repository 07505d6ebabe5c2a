"""The plan of an experiment, checked before anything is started."""

from __future__ import annotations

import collections
import dataclasses
import pathlib

from semicml_tf.conversion.splitting.split import Split, content_hash, read
from semicml_tf.errors import UserError
from semicml_tf.experiments import grid, method_row, splits
from semicml_tf.experiments.config import ExperimentConfig
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.study import Study
from semicml_tf.records import dataset
from semicml_tf.system import atomic_files


@dataclasses.dataclass(frozen=True)
class Plan:
    """An experiment.

    Attributes:
        study: what its commands share.
        output: its folder.
        source: folder of the volumes; None = a phantom that it makes itself.
        base: the study's own split.
        cells: its runs, in their order.
        reference: name of the row that others are compared with.
        baseline: name of the row that learns from labelled patients only, if one is named.
    """

    study: Study
    output: pathlib.Path
    source: pathlib.Path | None
    base: Split
    cells: tuple[Cell, ...]
    reference: str
    baseline: str | None = None

    @property
    def volumes(self) -> pathlib.Path:
        """Folder of the volumes, made by the experiment or given."""
        return self.source or self.output / "volumes"

    def dataset(self, cell: Cell) -> pathlib.Path:
        """Folder of the cell's dataset."""
        return self.output / "datasets" / cell.data_name

    def split_file(self, cell: Cell) -> pathlib.Path:
        """File of the cell's split, the same for all sets of modalities."""
        return self.output / "splits" / f"{cell.labelled}-seed{cell.seed}.json"

    def is_converted(self, cell: Cell) -> bool:
        """Whether the cell's dataset exists."""
        return (self.dataset(cell) / dataset.FILE_NAME).is_file()

    def hashes(self) -> dict[str, str]:
        """The data hash of each existing dataset, by name."""
        return {
            cell.data_name: dataset.DatasetInfo.load(self.dataset(cell)).data_hash
            for cell in self.cells
            if self.is_converted(cell)
        }

    def text(self) -> str:
        """The plan in words: the finished and the unfinished steps."""
        datasets = {cell.data_name: self.is_converted(cell) for cell in self.cells}
        finished = sum(cell.finished for cell in self.cells)
        lines = [
            f"{self.output}: {len(datasets)} datasets, {sum(datasets.values())} made; {len(self.cells)} runs, "
            f"{finished} finished",
            f"pool of {len(splits.pool_of(self.base))} patients; {len(self.base['validation'])} for validation, "
            f"{len(self.base['test'])} to test on",
        ]
        by_row = collections.defaultdict(list)
        for cell in self.cells:
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


def make(config: ExperimentConfig) -> Plan:
    """The plan of an experiment.

    Raises:
        UserError: the user must correct something in it.
    """
    study = Study(config.flagfile)
    convert = study.options("convert")
    for name in ("split_seed", "fold"):
        if convert[name] is not None:
            raise UserError(
                f"--{name} cannot be in an experiment, which gives each conversion its split",
                remedy="Take the flag out, and give the split as --base_split=FILE.json",
            )
    table = method_row.parse_rows(
        config.row,
        modality_sets=method_row.parse_modality_sets(
            config.modality_sets or config.pairs or [":".join(convert["modalities"])]
        ),
        labelled=method_row.parse_labelled(config.labelled_patients),
        seeds=method_row.parse_seeds(config.seeds),
    )
    names = [row.name for row in table]
    for flag in ("reference", "baseline"):
        if (row := getattr(config, flag)) and row not in names:
            raise UserError(
                f"expected one of the rows in --{flag}, got '{row}'",
                remedy=f"Name one of {', '.join(names)}",
            )
    output = pathlib.Path(config.output)
    source = pathlib.Path(config.input) if config.input else None
    base = splits.base_split(study, source, config.base_split)
    cells = grid.cells_of(table, output, study, len(splits.pool_of(base)), config.partition)
    return Plan(study, output, source, base, tuple(cells), config.reference or names[0], config.baseline)


def write_splits(plan: Plan) -> None:
    """Writes each cell's split into the experiment's folder.

    Raises:
        UserError: there is another one, of another base split.
    """
    incomplete = () if plan.source else splits.incomplete_of_phantom(plan.study)
    for cell in {plan.split_file(cell): cell for cell in plan.cells}.values():
        body = splits.drawn(plan.base, cell.labelled, cell.seed, incomplete).to_json()
        path = plan.split_file(cell)
        if path.exists() and content_hash(read(path).to_json()) != content_hash(body):
            raise UserError(
                "this experiment was begun with another split",
                path=path,
                remedy="Give the volumes and the --base_split that it began with, or another --output",
            )
        atomic_files.write_json(path, body)
