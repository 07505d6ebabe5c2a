"""The files of one case, independent of the layout."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.source import Source, limited
from semicml_tf.system import file_kind

# What to do about a missing image beside adding it.
_OTHERWISE = "or pass --allow_missing_modality, or put the case under 'excluded' in the split"


@dataclasses.dataclass(frozen=True)
class CaseFiles:
    """The files of a case, as a layout names them. They were not opened, and may be missing.

    Attributes:
        case_id: name of the case.
        images: source by modality name. Layouts with fixed file names also name missing files. Others leave the
            modality out, e.g. for an empty cell of a manifest.
        label: source of the label map; None if the layout names none for this case.
        label_on: the image on whose grid the label was drawn; None = the reference modality's.
        partition: partition of the case in the layout; None if the layout has no partitions.
        patient_id: name of the patient, shared by several studies; "" = the case's own name.
        near_matches: by modality, or ``label``: a misnamed file that may be the missing one. If the user accepts near
            matches, this file is also the source.
        spans: numbers of the deliveries that contain the case, in order. The files are those of the last one. () = the
            source is no folder of deliveries.
    """

    case_id: str
    images: Mapping[str, Source]
    label: Source | None = None
    label_on: Source | None = None
    partition: str | None = None
    patient_id: str = ""
    near_matches: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    spans: tuple[int, ...] = ()

    @property
    def patient(self) -> str:
        """Name of the patient, the unit of every split."""
        return self.patient_id or self.case_id

    def present(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Those of `modalities` whose files exist."""
        return tuple(name for name in modalities if name in self.images and not self.images[name].missing())

    def limited(self, most_voxels: int) -> CaseFiles:
        """The case with another limit for the voxels of a volume; see `source.NiftiFile`."""
        images = {name: limited(source, most_voxels) for name, source in self.images.items()}
        label = self.label and limited(self.label, most_voxels)
        return dataclasses.replace(self, images=images, label=label)

    def has_label(self) -> bool:
        """Whether there is a label file."""
        return self.label is not None and not self.label.missing()

    def absent(self, *, with_label: bool, modalities: Sequence[str] = ()) -> Iterator[tuple[str, UserError]]:
        """Yields the required files that are missing. Opens no file.

        Args:
            with_label: whether the label map is required.
            modalities: required modalities, in addition to those in `images`.

        Yields:
            What is missing (a modality, ``label`` or ``label_on``), and the error about it.
        """
        for name in dict.fromkeys((*self.images, *modalities)):
            source = self.images.get(name)
            if source is None:
                yield (
                    name,
                    UserError(
                        f"case {self.case_id} lacks the modality '{name}': its layout names no file for it",
                        remedy=f"Name its file, {_OTHERWISE}",
                    ),
                )
            elif source.missing():
                yield name, self._lacks(f"the modality '{name}'", name, _OTHERWISE)
        if not with_label:
            return
        if self.label_on is not None and self.label_on.missing():
            what = "the image on whose grid its label was drawn"
            yield "label_on", self._lacks(what, "label_on", "or name another modality in --label_on")
        if self.label is None:
            yield (
                "label",
                UserError(
                    f"case {self.case_id} is to be read with its label, but the layout names none for it",
                    remedy="Name its label file, or move the case to 'unlabelled'",
                ),
            )
        elif self.label.missing():
            yield "label", self._lacks("its label", "label", "or move the case to 'unlabelled'")

    def _source(self, what: str) -> Source:
        return {"label": self.label, "label_on": self.label_on}.get(what) or self.images[what]

    def _lacks(self, noun: str, what: str, otherwise: str) -> UserError:
        """The error about a source that is missing or no regular file."""
        path = self._source(what).missing()
        kind = file_kind.irregular(path) or ("a link that leads nowhere" if os.path.islink(path) else None)
        expected = f"expected a file, got {kind}" if kind else "expected this file"
        remedy = f"{'Name the file that is meant' if kind else 'Add the file'}, {otherwise}"
        return UserError(f"case {self.case_id} lacks {noun}: {expected}", path=path, remedy=self._offer(what) or remedy)

    def _offer(self, what: str) -> str | None:
        near = self.near_matches.get(what)
        if near is None:
            return None
        source = self._source(what)
        return f"If {near.name} beside it is meant, rename it to {source.path.name}, or pass --accept_near_matches"
