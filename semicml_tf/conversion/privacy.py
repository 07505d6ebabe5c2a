"""What may be told of names and places: everything, or pseudonyms alone."""

from __future__ import annotations

from collections.abc import Mapping

from semicml_tf.conversion.findings import CaseReport


class Privacy:
    """Nothing is hidden."""

    hides = False

    def original(self, name: str) -> str:
        return name

    def pseudonym(self, name: str) -> str:
        return name

    def text(self, text: str) -> str:
        return text

    def reports(self, reports: Mapping[str, CaseReport]) -> dict[str, CaseReport]:
        return dict(reports)
