"""Where an image or a label map comes from: what a case needs of a file, whatever its format."""

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
    """One image or label map on disk. Implementations are frozen dataclasses: they travel to other processes."""

    @property
    def path(self) -> pathlib.Path:
        """The file or folder, for messages."""

    def missing(self) -> pathlib.Path | None:
        """The first of its files that is not there; None if all are. Opens nothing."""

    def digest(self) -> str:
        """SHA-256 (hex) of the bytes of its files, and of which part of them is meant, if it is one.

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
            UserError: likewise, or the values are no whole numbers.
        """

    def read_grid(self) -> Grid:
        """The grid alone, from the headers.

        Raises:
            UserError: likewise.
        """


def read_label_with_warnings(source: Source) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
    """`source.read_label()`, and what a person should look at where the source knows of such things."""
    read = getattr(source, "read_label_with_warnings", None)
    return read() if read else (*source.read_label(), ())


@dataclasses.dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file, zipped or not.

    Attributes:
        path: of the file.
        channel: which volume of a 4-D file is meant; None where the file should hold one volume.
        most_voxels: a volume of more is refused.
    """

    path: pathlib.Path
    channel: int | None = None
    # No part of what is meant, so a finished case stays finished.
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
        """Fields of the header that contradict others, although the volume does not depend on them.

        Raises:
            UserError: likewise.
        """
        return reader.read_header(self.path, channel=self.channel).remarks


def limited(source: Source, most_voxels: int) -> Source:
    """The source with another limit of voxels, where it has one."""
    if not hasattr(source, "most_voxels"):
        return source
    series = getattr(source, "series", None)  # of a label, the images that it was drawn on
    inner = {} if series is None else {"series": limited(series, most_voxels)}
    return dataclasses.replace(source, most_voxels=most_voxels, **inner)


@dataclasses.dataclass(frozen=True)
class Refused:
    """A `Source` whose reading raises an error, for example because several files may be meant.

    Attributes:
        path: folder of the files.
        problem: of the error.
        remedy: of the error.
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
