"""The output of a conversion: a local folder, or a URL to which the dataset is uploaded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.execution.dataset_writer import is_dataset
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.errors import UserError
from semicml_tf.records.dataset import FILE_NAME
from semicml_tf.storage import upload, url


@dataclasses.dataclass(frozen=True)
class Target:
    """The output of a conversion.

    Attributes:
        name: path or URL, as the user wrote it.
        local: local folder in which the dataset is made. The work folder is beside it.
        overwrite: whether an existing dataset may be replaced.
    """

    name: str
    local: pathlib.Path
    overwrite: bool

    @classmethod
    def parse(cls, name: str, *, overwrite: bool) -> Target:
        """Reads ``--output``."""
        if not url.is_remote(name):
            return cls(name, pathlib.Path(name), overwrite)
        return cls(name, upload.local_output(name), overwrite)

    @property
    def is_remote(self) -> bool:
        """Whether the output is uploaded."""
        return url.is_remote(self.name)

    def beside(self, ending: str) -> pathlib.Path:
        """The output's name and `ending`, next to the output; in the current folder for a remote output."""
        if self.is_remote:
            return pathlib.Path(self.name.rstrip("/").rsplit("/", 1)[-1] + ending)
        return self.local.with_name(self.local.name + ending)

    def check(self, source: pathlib.Path) -> None:
        """Refuses an output that would replace other files.

        Raises:
            UserError: the output folder contains the input, or files that are no dataset.
        """
        if self.is_remote:
            upload.check_target(self.name, overwrite=self.overwrite)
            return
        # Not pathlib's: it raises on a link to itself.
        local, read = (pathlib.Path(os.path.realpath(place)) for place in (self.local, source))
        if local in (read, *read.parents):
            raise UserError("the output folder contains the input", path=self.local, remedy="Choose another --output")
        if self.local.exists() and not self.local.is_dir():
            raise UserError("expected a folder, got a file", path=self.local, remedy="Choose another output")
        if not self.local.is_dir() or not any(self.local.iterdir()):
            return
        if not self.overwrite:
            raise UserError(
                "the output folder is not empty", path=self.local, remedy="Choose another, or pass --overwrite"
            )
        # --overwrite removes the folder, which must therefore be a dataset.
        if not is_dataset(self.local):
            raise UserError(
                f"--overwrite replaces datasets only, and this folder has no {FILE_NAME}",
                path=self.local,
                remedy="Choose another --output, or empty the folder yourself",
            )

    @contextlib.contextmanager
    def work(self, *, cache: str | None = None) -> Iterator[WorkFolder]:
        """The work folder, for one conversion at a time; see `work_folder.opened`."""
        with works.opened(self.local, cache=cache) as work:
            yield work

    def publish(self, work: WorkFolder) -> None:
        """Moves or uploads the finished dataset to the output.

        Raises:
            UserError: the output cannot be written or uploaded. The work folder is then kept.
        """
        if not self.is_remote:
            works.publish(work, self.local)
            return
        upload.upload_dataset(work.dataset, self.name, overwrite=self.overwrite)
        works.discard(work)
