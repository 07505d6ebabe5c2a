"""The files of one case, whatever the layout they come from."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """Where a case's files should lie; a layout names them without opening or requiring any.

    Attributes:
        case_id: name of the case.
        images: path by modality name.
        label: path of the label map, or None where the layout names none for this case.
        label_on: the image on whose grid the label was drawn; None = the reference modality's.
        partition: where the layout itself puts the case; None = it does not say.
    """

    case_id: str
    images: Mapping[str, pathlib.Path]
    label: pathlib.Path | None = None
    label_on: pathlib.Path | None = None
    partition: str | None = None

    def check_present(self, *, with_label: bool) -> None:
        """Checks that the files are there, without opening them.

        Args:
            with_label: whether the label map is needed, too.

        Raises:
            UserError: one is missing.
        """
        for modality, path in self.images.items():
            if not path.is_file():
                raise UserError(
                    f"case {self.case_id} lacks the modality '{modality}': expected this file",
                    path=path,
                    remedy="Add the file, or put the case under 'excluded' in the split",
                )
        if not with_label:
            return
        if self.label_on is not None and not self.label_on.is_file():
            raise UserError(
                f"case {self.case_id} lacks the image on whose grid its label was drawn: expected this file",
                path=self.label_on,
                remedy="Add the file, or name another modality in --label_on",
            )
        if self.label is None:
            raise UserError(
                f"case {self.case_id} is to be read with its label, but the layout names none for it",
                remedy="Name its label file, or move the case to 'unlabelled'",
            )
        if not self.label.is_file():
            raise UserError(
                f"case {self.case_id} lacks its label: expected this file",
                path=self.label,
                remedy="Add the file, or move the case to 'unlabelled'",
            )
