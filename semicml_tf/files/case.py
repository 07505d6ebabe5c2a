"""The files of one case, whatever the layout they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.source import Source


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """Where a case's files should lie; a layout names them without opening or requiring any.

    Attributes:
        case_id: name of the case.
        images: source by modality name.
        label: source of the label map, or None where the layout names none for this case.
        label_on: the image on whose grid the label was drawn; None = the reference modality's.
        partition: where the layout itself puts the case; None = it does not say.
        patient_id: whose case it is; several studies of one patient share it. "" = the case's own name.
    """

    case_id: str
    images: Mapping[str, Source]
    label: Source | None = None
    label_on: Source | None = None
    partition: str | None = None
    patient_id: str = ""

    @property
    def patient(self) -> str:
        """Name of the patient, the unit of every split."""
        return self.patient_id or self.case_id

    def held(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Those of `modalities` whose files are there."""
        return tuple(name for name in modalities if name in self.images and not self.images[name].missing())

    def check_present(self, *, with_label: bool) -> None:
        """Checks that the files are there, without opening them.

        Args:
            with_label: whether the label map is needed, too.

        Raises:
            UserError: one is missing.
        """
        for modality, source in self.images.items():
            if source.missing():
                raise UserError(
                    f"case {self.case_id} lacks the modality '{modality}': expected this file",
                    path=source.missing(),
                    remedy="Add the file, or put the case under 'excluded' in the split",
                )
        if not with_label:
            return
        if self.label_on is not None and self.label_on.missing():
            raise UserError(
                f"case {self.case_id} lacks the image on whose grid its label was drawn: expected this file",
                path=self.label_on.missing(),
                remedy="Add the file, or name another modality in --label_on",
            )
        if self.label is None:
            raise UserError(
                f"case {self.case_id} is to be read with its label, but the layout names none for it",
                remedy="Name its label file, or move the case to 'unlabelled'",
            )
        if self.label.missing():
            raise UserError(
                f"case {self.case_id} lacks its label: expected this file",
                path=self.label.missing(),
                remedy="Add the file, or move the case to 'unlabelled'",
            )
