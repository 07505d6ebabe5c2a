"""The options of `semicml_tf.diagnose`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from semicml_tf.configuration import Problem, check, option
from semicml_tf.evaluation.config import RunData
from semicml_tf.storage.access import DatasetAccess

DIAGNOSES = ("relearning", "stages", "similarity", "labels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiagnoseConfig(DatasetAccess, RunData):
    """Options of `semicml_tf.diagnose`."""

    diagnosis: str = option(help="What to report; see above.", choices=DIAGNOSES)
    truth: str | None = option(
        None,
        help="For 'relearning' and 'stages': converted data of the same patients, with labels of the patients that are "
        "unlabelled in the run's data. The pseudo-labels are measured against these labels.",
        path=True,
    )
    experiment_row: str | None = option(
        None, help="For 'stages' of an experiment: name of the row's folders below runs/, e.g. semi-cml."
    )
    output: str | None = option(None, help="Folder to write. The default is RUN/evaluation/DIAGNOSIS.", path=True)
    batch_size: int = option(16, help="Slices per call of a network.", low=1)

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self) -> Iterator[Problem]:
        if self.truth and self.diagnosis not in ("relearning", "stages"):
            yield (
                f"--truth is for the diagnoses 'relearning' and 'stages', got '{self.diagnosis}'",
                "Choose one of them, or leave --truth out",
            )
        if not self.truth and self.diagnosis == "stages":
            yield "expected --truth of the diagnosis 'stages', which is missing", "Pass a dataset with all labels"
        if self.experiment_row and self.diagnosis != "stages":
            yield (
                f"--experiment_row is for the diagnosis 'stages', got '{self.diagnosis}'",
                "Leave --experiment_row out",
            )
