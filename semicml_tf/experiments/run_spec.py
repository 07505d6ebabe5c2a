"""A cell of an experiment's grid: one row of the table, trained on one draw of the labelled patients."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.records.dataset import DatasetInfo

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        row: name of the table's row.
        modalities: of the run, in the order of its dataset.
        labelled: number of labelled patients as text, e.g. "4", or "all".
        seed: of the run, and of the draw of the labelled patients.
        folder: of the run.
        flags: of `semicml_tf.train`, which the row adds to the study's.
        partition: that is scored: ``test``, or ``validation`` to choose settings.
        stale: whether the folder has a run of other settings or data, which is neither resumed nor shown.
        fold: number of the fold that is tested, from 0; None without folds, and in a pooled cell.
        members: the cells of all folds of a pooled cell; () in a cell of one run.
        external: the `metrics.json` files of another tool's masks, one per fold, by modality or by "" for masks of no
            single modality; () in a cell of a run.
    """

    row: str
    modalities: tuple[str, ...]
    labelled: str
    seed: int
    folder: pathlib.Path
    flags: tuple[str, ...] = ()
    partition: str = "test"
    stale: bool = False
    fold: int | None = None
    members: tuple[Cell, ...] = ()
    external: tuple[tuple[str, tuple[pathlib.Path, ...]], ...] = ()

    @property
    def metrics_path(self) -> pathlib.Path:
        """Path of the run's `metrics.json`, or of the first file of another tool's masks."""
        if self.external:
            return self.external[0][1][0]
        return self.folder / "evaluation" / self.partition / "metrics.json"

    @property
    def finished(self) -> bool:
        """Whether the run is trained and scored, or all files of another tool's masks exist."""
        if self.external:
            return all(path.is_file() for _, paths in self.external for path in paths)
        return not self.stale and self.metrics_path.is_file()

    @property
    def data_name(self) -> str:
        """Name of the dataset's folder. All rows of one draw share the dataset."""
        fold = "" if self.fold is None else f"-fold{self.fold}"
        return f"{'-'.join(self.modalities)}-{self.labelled}-seed{self.seed}{fold}"

    def labelled_count(self, dataset: DatasetInfo) -> int:
        """Number of labelled cases in the cell's `dataset`, also if `labelled` is "all"."""
        return len(dataset.cases("labelled"))
