"""A source that stands where nothing says which of several files is meant: who needs it is told, nobody else."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid


@dataclasses.dataclass(frozen=True)
class Refused:
    """A `Source` that cannot be read.

    Attributes:
        path: the folder of the files.
        problem: what to tell.
        remedy: likewise.
    """

    path: pathlib.Path
    problem: str
    remedy: str

    def missing(self) -> pathlib.Path | None:
        return None

    def _error(self) -> UserError:
        return UserError(self.problem, path=self.path, remedy=self.remedy)

    def digest(self) -> str:
        raise self._error()

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        raise self._error()

    def read_label(self) -> tuple[np.ndarray, Grid]:
        raise self._error()

    def read_grid(self) -> Grid:
        raise self._error()
