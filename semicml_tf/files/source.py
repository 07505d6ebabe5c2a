"""Sources of images and label maps: the interface to a file or series, independent of its format."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from typing import Protocol

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid


class Source(Protocol):
    """An image or label map on disk. Implementations are frozen dataclasses, which are sent to other processes."""

    @property
    def path(self) -> pathlib.Path:
        """The file or folder, for messages."""

    def missing(self) -> pathlib.Path | None:
        """The first of its files that does not exist; None if all exist. Opens nothing."""

    def digest(self) -> str:
        """SHA-256 (hex) of the bytes of its files and, if the source is a part of them, of the part's name.

        Raises:
            UserError: a file is missing or cannot be read.
        """

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        """float32 values in native units (HU, SUV, MR as stored), 3-D, finite, and their grid.

        Raises:
            UserError: the file is unusable; the message says why.
        """

    def read_label(self) -> tuple[np.ndarray, Grid]:
        """int32 values of a label map, 3-D, and their grid.

        Raises:
            UserError: the file is unusable, or the values are no whole numbers.
        """

    def read_grid(self) -> Grid:
        """The grid, from the headers alone.

        Raises:
            UserError: the headers are unusable.
        """


def read_label_with_warnings(source: Source) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
    """The result of `source.read_label()`, and warnings if the source gives any."""
    read = getattr(source, "read_label_with_warnings", None)
    return read() if read else (*source.read_label(), ())


@dataclasses.dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file, zipped or not.

    Attributes:
        path: path of the file.
        channel: number of a volume of a 4-D file; None for a 3-D file.
        most_voxels: larger volumes are refused.
    """

    path: pathlib.Path
    channel: int | None = None
    # Not compared and not shown, so that a changed limit does not invalidate finished cases.
    most_voxels: int = dataclasses.field(default=reader.MOST_VOXELS, repr=False, compare=False)

    def missing(self) -> pathlib.Path | None:
        return None if os.path.isfile(self.path) else self.path

    def digest(self) -> str:
        stored = reader.sha256(self.path)
        if self.channel is None:
            return stored
        return hashlib.sha256(f"{stored} channel {self.channel}".encode()).hexdigest()

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        return reader.read_volume(self.path, channel=self.channel, most_voxels=self.most_voxels)

    def read_label(self) -> tuple[np.ndarray, Grid]:
        return reader.read_label(self.path, channel=self.channel, most_voxels=self.most_voxels)

    def read_grid(self) -> Grid:
        return reader.read_grid(self.path, channel=self.channel)

    def remarks(self) -> tuple[str, ...]:
        """Contradictions between fields of the header that the volume does not depend on.

        Raises:
            UserError: the header is unusable.
        """
        return reader.read_header(self.path, channel=self.channel).remarks


def limited(source: Source, most_voxels: int) -> Source:
    """The source with another limit of voxels, if it has one."""
    if not hasattr(source, "most_voxels"):
        return source
    series = getattr(source, "series", None)  # of a label, the images that it was drawn on
    inner = {} if series is None else {"series": limited(series, most_voxels)}
    return dataclasses.replace(source, most_voxels=most_voxels, **inner)


@dataclasses.dataclass(frozen=True)
class Refused:
    """A `Source` that raises an error when it is read, for example because several files have its name.

    Attributes:
        path: folder of the files.
        problem: text of the error.
        remedy: remedy of the error.
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
