"""The options of an experiment."""

from __future__ import annotations

import dataclasses
from typing import Any

from semicml_tf import commandline
from semicml_tf.configuration import check, option

_STUDY, _GRID, _TABLES, _WORK = "Study and folders", "Grid of runs", "Tables", "Processes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """A grid of runs on one study, and its tables; see the help of each option.

    An option that is not passed has its value of the flagfiles, if they set it. The rows of the flagfiles come before
    the rows that are passed. The command line has the same rules.

    Raises:
        UserError: an option is wrong, or a flagfile cannot be read.
    """

    flagfile: tuple[str, ...] = option(
        (),
        "Flagfiles of the study, which each command of the experiment reads.",
        repeated=True,
        path=True,
        group=_STUDY,
    )
    input: str | None = option(
        None, "Folder of the volumes. Without it, a phantom is made in OUTPUT/volumes.", path=True, group=_STUDY
    )
    output: str = option(help="Folder of all that is made.", path=True, group=_STUDY)
    tables: str | None = option(None, "Folder of tables and figures. The default is OUTPUT.", path=True, group=_STUDY)
    row: tuple[str, ...] = option(
        (),
        "NAME: FLAGS, a row of the table and the flags of semicml_tf.train that it adds to the study's. Its own "
        "--modality_sets, --labelled_patients and --seeds replace the experiment's.",
        repeated=True,
        group=_GRID,
    )
    modality_sets: tuple[str, ...] = option(
        (), "Sets of modalities, e.g. ct:pet:mr,ct:pet. The default is the study's --modalities.", group=_GRID
    )
    pairs: tuple[str, ...] = option((), "Former name of --modality_sets.", group=_GRID)
    labelled_patients: tuple[str, ...] = option(("4",), "Numbers of labelled patients, e.g. 2,4,8,all.", group=_GRID)
    seeds: tuple[str, ...] = option(
        ("0", "1", "2", "3", "4"), "Seeds of the draw of labelled patients and of the run.", group=_GRID
    )
    base_split: str | None = option(
        None,
        "JSON file of the study's split. Its validation and test patients are those of all runs; the others may be "
        "labelled. The default is the study's --split, or split.json in the input folder.",
        path=True,
        group=_GRID,
    )
    reference: str | None = option(
        None, "Row that the others are compared with. The default is the first row.", group=_TABLES
    )
    baseline: str | None = option(
        None, "Row that learns from labelled patients only. The labels saved are relative to it.", group=_TABLES
    )
    partition: str = option(
        "test",
        "Partition whose scores are reported. Choose settings by validation.",
        choices=("validation", "test"),
        group=_TABLES,
    )
    tables_only: bool = option(False, "Make the tables of the finished runs, and run nothing.", group=_TABLES)
    workers: int = option(0, "Processes at a time, which share the cores. 0 means one per core.", low=0, group=_WORK)
    dry_run: bool = option(False, "Print what there is to do and what is done, and do nothing.", group=_WORK)

    def __new__(cls, **options: Any):
        config = super().__new__(cls)
        object.__setattr__(config, "_passed", frozenset(options))  # the dataclass is frozen
        return config

    def __post_init__(self):
        if isinstance(self.flagfile, (list, tuple)):
            self._read_flagfiles()
        check(self, self._further())

    def _read_flagfiles(self) -> None:
        options = commandline.options("semicml_tf.experiment", [f"--flagfile={path}" for path in self.flagfile])
        if "row" in self._passed and isinstance(self.row, (list, tuple)):
            rows = [text for text in options["row"] if text not in self.row]
            object.__setattr__(self, "row", (*rows, *self.row))
        for name in options.keys() - self._passed:
            object.__setattr__(self, name, options[name])

    def _further(self):
        if not self.flagfile:
            yield "expected --flagfile of the study, which is missing", "See --help"
        if self.pairs and self.modality_sets:
            yield "--pairs is the former name of --modality_sets, and both are given", "Leave --pairs out"
