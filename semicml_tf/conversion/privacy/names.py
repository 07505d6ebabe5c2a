"""What may be told of names and places: everything, or pseudonyms alone."""

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
from semicml_tf.errors import UserError, printable_lines
from semicml_tf.files.case import CaseFiles


class Open:
    """Names and paths are told as they are."""

    hides = False

    def rename(self, cases: Sequence[CaseFiles]) -> list[CaseFiles]:
        """The cases under the names that a dataset may tell."""
        return list(cases)

    def rename_split(self, split: Split) -> Split:
        """The split under these names."""
        return split

    def original(self, name: str) -> str:
        """The name in the input."""
        return name

    def text(self, text: str) -> str:
        """`text` as it may be told, for a terminal."""
        return printable_lines(text)

    def findings(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings as they may be told."""
        return list(findings)

    def errors(self) -> AbstractContextManager[None]:
        """Mistakes that are raised within come out as they may be told."""
        return contextlib.nullcontext()


class Hidden:
    """Cases bear pseudonyms, and nothing of the input's names and paths is told.

    Args:
        source: the input.
        map_file: of the pseudonyms; made where there is none.
        dataset: folder that will be passed on.

    Attributes:
        map_file: where the map lies.
    """

    hides = True

    def __init__(self, source: pathlib.Path, map_file: str | os.PathLike, *, dataset: str | os.PathLike):
        self._source = source
        self.map_file = pathlib.Path(map_file)
        self._pseudonyms = Pseudonyms.open(map_file, dataset=dataset)
        self._cases: Sequence[CaseFiles] = ()
        self._know(())

    def _know(self, cases: Sequence[CaseFiles]) -> None:
        self._cases = cases or self._cases
        self._redactor = Redactor(self._source, self._cases, self._pseudonyms.names())

    def rename(self, cases: Sequence[CaseFiles]) -> list[CaseFiles]:
        renamed = self._pseudonyms.rename(cases)
        self._know(renamed)
        return renamed

    def rename_split(self, split: Split) -> Split:
        renamed = self._pseudonyms.rename_split(split)
        self._know(())
        return renamed

    def original(self, name: str) -> str:
        return self._pseudonyms.original(name)

    def text(self, text: str) -> str:
        return printable_lines(self._redactor.text(text))

    def findings(self, findings: Sequence[Finding]) -> list[Finding]:
        return [self._redactor.finding(finding) for finding in findings]

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            # By what is known when it is raised. Its cause holds the path, too, and would be shown with it.
            raise self._redactor.error(error) from None
