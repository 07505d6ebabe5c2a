"""Which names and paths of the input may be printed or written: all of them, or pseudonyms only."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from semicml_tf.conversion.privacy.pseudonyms import Pseudonyms
from semicml_tf.conversion.privacy.redactor import Redactor
from semicml_tf.conversion.splitting.split import Split
from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError, printable, printable_lines
from semicml_tf.files.case import CaseFiles


class Open:
    """Names and paths are printed unchanged."""

    hides = False

    def rename(self, cases: Sequence[CaseFiles]) -> list[CaseFiles]:
        """The cases, under the names that the dataset has."""
        return list(cases)

    def rename_split(self, split: Split) -> Split:
        """The split, under the names that the dataset has."""
        return split

    def original(self, name: str) -> str:
        """The name in the input of a case or a patient of the dataset."""
        return name

    def text(self, text: str) -> str:
        """A message as it may be printed."""
        return printable_lines(text)

    def path(self, path: str) -> str:
        """A path as it may be printed."""
        return printable(path)

    def findings(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings as they may be printed and written."""
        return list(findings)

    def errors(self) -> AbstractContextManager[None]:
        """Replaces errors that the block raises by errors that may be printed."""
        return contextlib.nullcontext()


class Hidden:
    """Cases have pseudonyms. No name and no path of the input is printed or written.

    Args:
        source: the input.
        map_file: file of the pseudonyms, which is made if it does not exist.
        dataset: folder of the dataset, which must not contain the map.

    Attributes:
        map_file: file of the pseudonyms.

    Raises:
        UserError: the map cannot be read or lies in the dataset.
    """

    hides = True

    def __init__(self, source: pathlib.Path, map_file: str | os.PathLike, *, dataset: str | os.PathLike):
        self._source = source
        self.map_file = pathlib.Path(map_file)
        self._pseudonyms = Pseudonyms.open(map_file, dataset=dataset)
        self._cases: Sequence[CaseFiles] = ()
        self._update()

    def _update(self) -> None:
        self._redactor = Redactor(self._source, self._cases, self._pseudonyms.names())

    def rename(self, cases: Sequence[CaseFiles]) -> list[CaseFiles]:
        self._cases = self._pseudonyms.rename(cases)
        self._update()
        return list(self._cases)

    def rename_split(self, split: Split) -> Split:
        renamed = self._pseudonyms.rename_split(split)
        self._update()
        return renamed

    def original(self, name: str) -> str:
        return self._pseudonyms.original(name)

    def text(self, text: str) -> str:
        return printable_lines(self._redactor.text(text))

    def path(self, path: str) -> str:
        return printable(self._redactor.path(path))

    def findings(self, findings: Sequence[Finding]) -> list[Finding]:
        return [self._redactor.finding(finding) for finding in findings]

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            # The cause is dropped, because its text may contain a path.
            raise self._redactor.error(error) from None
