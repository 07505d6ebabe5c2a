"""The options of an experiment."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from semicml_tf import commandline
from semicml_tf.configuration import Problem, as_flags, check, option

if TYPE_CHECKING:
    from semicml_tf.experiments.folds import Folds

# Options that do not change the results. The command in the tables leaves them out.
_NOT_REPEATED = ("flagfile", "workers", "dry_run", "tables_only")
# Options whose elements in flagfiles are listed before the elements that are passed.
_ROWS = ("row", "external_row")
NONE, CHOSEN = "none", "chosen"
_STUDY, _GRID, _FOLDS, _TABLES, _WORK = "Study and folders", "Grid of runs", "Folds", "Tables", "Processes"


def _postprocessing(default: str):
    return option(
        default,
        "Post-processing of the masks that are scored: none, or chosen for each run on its own validation patients.",
        choices=(NONE, CHOSEN),
        group=_TABLES,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """The options that an experiment and a cross-validation share.

    Options that are not passed are read from the flagfiles, as on the command line.
    """

    _COMMAND: ClassVar[str]
    flagfile: tuple[str, ...] = option(
        (),
        "Flagfiles of the study, which each command of the experiment reads.",
        repeated=True,
        path=True,
        group=_STUDY,
    )
    output: str = option(help="Folder of all outputs.", path=True, group=_STUDY)
    stratify: str = option(
        "none",
        "lesion_size: all folds get about the same volumes of lesions.",
        choices=("none", "lesion_size"),
        group=_FOLDS,
    )
    validation_patients: int | None = option(
        None, "Number of validation patients of each fold. The default is the next fold.", low=1, group=_FOLDS
    )
    fold_file: str | None = option(
        None,
        'JSON file of the folds, [["P1", "P2"], ["P3", "P4"]], instead of a draw. Each patient with a label is in '
        "exactly one fold.",
        path=True,
        group=_FOLDS,
    )

    postprocessing: str = _postprocessing(NONE)

    def __new__(cls, **options: Any):
        config = super().__new__(cls)
        object.__setattr__(config, "_passed", frozenset(options))  # the dataclass is frozen
        return config

    def __post_init__(self):
        if isinstance(self.flagfile, (list, tuple)):
            self._read_flagfiles(commandline.options(self._COMMAND, [f"--flagfile={path}" for path in self.flagfile]))
        check(self, self._further())

    def _read_flagfiles(self, options: dict[str, Any]) -> None:
        for name in options.keys() - self._passed - {"flagfile"}:
            if options[name] is not None:
                object.__setattr__(self, name, options[name])

    def _further(self) -> Iterator[Problem]:
        if not self.flagfile:
            yield "expected --flagfile of the study, which is missing", "See --help"

    def folds_of(self, number: int | None) -> Folds:
        """The folds of these options.

        Args:
            number: of folds; None reads it from the file.

        Raises:
            UserError: the file cannot be read.
        """
        from semicml_tf.experiments import folds

        given = folds.read(self.fold_file) if self.fold_file else ()
        return folds.Folds(
            number=number or len(given),
            stratified=self.stratify != "none",
            validation_patients=self.validation_patients,
            given=given,
        )

    def fold_problems(self, number: int | None) -> Iterator[Problem]:
        """Yields contradictions between these options."""
        for name in ("folds", "stratify"):
            value = number if name == "folds" else self.stratify
            if self.fold_file and value not in (None, "none"):
                yield f"--{name} and --fold_file contradict each other", "Pass one of them"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig(StudyOptions):
    """A grid of runs on one study, and its tables; see the help of each option.

    Options that are not passed are read from the flagfiles, as on the command line. Rows of the flagfiles come before
    the rows that are passed.

    Raises:
        UserError: an option is wrong, or a flagfile cannot be read.
    """

    _COMMAND = "semicml_tf.experiment"
    input: str | None = option(
        None, "Folder of the volumes. Without it, a phantom is made in OUTPUT/volumes.", path=True, group=_STUDY
    )
    dataset: str | None = option(
        None, "A converted dataset instead of volumes, with --folds. Nothing is converted.", path=True, group=_STUDY
    )
    tables: str | None = option(None, "Folder of tables and figures. The default is OUTPUT.", path=True, group=_STUDY)
    row: tuple[str, ...] = option(
        (),
        "NAME: FLAGS, a row of the table, and the flags of semicml_tf.train that it adds to the study's flags. "
        "--modality_sets, --labelled_patients and --seeds in a row replace those of the experiment.",
        repeated=True,
        group=_GRID,
    )
    external_row: tuple[str, ...] = option(
        (),
        "NAME: PATH, a row of another tool's masks. PATH is the metrics.json that semicml_tf.evaluate --masks wrote. "
        "PATH may contain {modality}, {labelled}, {seed} and {fold}. The row may also have --modality_sets, "
        "--labelled_patients and --seeds.",
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
        "JSON file of the study's split. All runs have its validation and test patients; any of the others may be "
        "labelled. The default is the study's --split, or split.json in the input folder.",
        path=True,
        group=_GRID,
    )
    folds: int | None = option(
        None,
        "Number of folds of a cross-validation. The data are converted once, with all patients labelled. Each seed "
        "draws new folds, and each patient is tested once per seed. --base_split then only excludes patients.",
        low=2,
        group=_FOLDS,
    )
    reference: str | None = option(
        None, "Row that the others are compared with. The default is the first row.", group=_TABLES
    )
    baseline: str | None = option(
        None, "Row that learns from labelled patients only. The saved labels are relative to this row.", group=_TABLES
    )
    partition: str = option(
        "test",
        "Partition whose scores are reported. Use validation to choose settings.",
        choices=("validation", "test"),
        group=_TABLES,
    )
    tables_only: bool = option(False, "Write the tables of the finished runs, and run nothing.", group=_TABLES)
    workers: int = option(0, "Processes at a time, which share the cores. 0 means one per core.", low=0, group=_WORK)
    dry_run: bool = option(False, "Print what there is to do and what is done, and do nothing.", group=_WORK)

    def _read_flagfiles(self, options: dict[str, Any]) -> None:
        for name in _ROWS:
            passed = getattr(self, name)
            if name in self._passed and isinstance(passed, (list, tuple)):
                rows = [text for text in options[name] if text not in passed]
                object.__setattr__(self, name, (*rows, *passed))
        super()._read_flagfiles(options)

    def _further(self):
        yield from super()._further()
        if self.pairs and self.modality_sets:
            yield "--pairs is the former name of --modality_sets, and both are passed", "Leave --pairs out"
        yield from self.fold_problems(self.folds)
        if not self.has_folds and (self.validation_patients is not None or self.stratify != "none"):
            yield "expected --folds with --stratify and --validation_patients", "Pass for example --folds=5"
        if self.dataset and not self.has_folds:
            yield "expected --folds with --dataset, whose split is otherwise fixed", "Pass for example --folds=5"
        if self.dataset and (self.input or self.base_split):
            yield "--dataset contradicts --input and --base_split, which are for a conversion", "Leave --dataset out"

    @property
    def has_folds(self) -> bool:
        """Whether the experiment is a cross-validation."""
        return self.folds is not None or self.fold_file is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossvalidateConfig(StudyOptions):
    """A cross-validation of one study on a converted dataset; see the help of each option.

    Raises:
        UserError: an option is wrong, or a flagfile cannot be read.
    """

    _COMMAND = "semicml_tf.crossvalidate"
    dataset: str = option(
        help="The converted dataset. All of its patients with a label are divided into folds.", path=True, group=_STUDY
    )
    folds: int | None = option(
        None, "Number of folds. The default is 5, or the number of folds in --fold_file.", low=2, group=_FOLDS
    )
    repeats: int = option(
        1, "Number of repeats. Each has its own folds, labelled patients and initial weights.", low=1, group=_FOLDS
    )
    labelled_patients: str = option(
        "all",
        "Number of labelled patients in each fold, or all. The others are unlabelled, and their labels are removed.",
        group=_FOLDS,
    )
    postprocessing: str = _postprocessing(CHOSEN)
    workers: int = option(0, "Processes at a time, which share the cores. 0 means one per core.", low=0, group=_WORK)
    dry_run: bool = option(False, "Print what there is to do and what is done, and do nothing.", group=_WORK)

    def _further(self):
        yield from super()._further()
        yield from self.fold_problems(self.folds)


def command(config: StudyOptions) -> str:
    """The command that repeats an experiment: its flagfiles, and the options that differ from them."""
    files = [f"--flagfile={path}" for path in config.flagfile]
    of_files = commandline.options(config._COMMAND, files)
    changed = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in _NOT_REPEATED and getattr(config, field.name) != of_files[field.name]
    ]
    # Rows on the command line are added to those of the flagfiles.
    rows = {f"--{name}={text}" for name in _ROWS for text in of_files.get(name, ())}
    repeated = [line for line in as_flags(config, changed) if line not in rows]
    return shlex.join(["python", "-m", config._COMMAND, *files, *repeated])
