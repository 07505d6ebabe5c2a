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
        pair: the two modalities.
        labelled: number of labelled patients as text, e.g. "4"; or "all" of those that may be.
        seed: of the run, and of the draw of the labelled patients.
        folder: of the run.
        flags: of `semicml_tf.train`, which the row adds to the study's.
        partition: whose scores are reported: ``test``, or ``validation`` to choose settings.
        stale: whether the folder holds a run of other settings or data, which is neither resumed nor shown.
    """

    row: str
    pair: tuple[str, str]
    labelled: str
    seed: int
    folder: pathlib.Path
    flags: tuple[str, ...] = ()
    partition: str = "test"
    stale: bool = False

    @property
    def metrics_path(self) -> pathlib.Path:
        """Where its scores are, once it is finished."""
        return self.folder / "evaluation" / self.partition / "metrics.json"

    @property
    def finished(self) -> bool:
        """Whether it is trained and scored."""
        return not self.stale and self.metrics_path.is_file()

    @property
    def data_name(self) -> str:
        """Name of its dataset's folder, which all rows of the same draw share."""
        return f"{'-'.join(self.pair)}-{self.labelled}-seed{self.seed}"

    def labelled_count(self, dataset: DatasetInfo) -> int:
        """Cases with labels that `dataset`, the cell's own, gives to training; also where `labelled` is "all"."""
        return len(dataset.cases("labelled"))
