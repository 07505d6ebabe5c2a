"""The files that are written of a case: masks and maps, of one class or of several."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import seg_writer
from semicml_tf.files.nifti import writer
from semicml_tf.inference.inputs import Case
from semicml_tf.labels import PLAIN, LabelDefinition

MAPS = ("probabilities", "entropy", "mutual_information", "disagreement")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What is written of a case, all on the grid of its first image.

    One region has one mask, 0/1. Several regions may overlap, and viewers open one file per mask: ``mask.nii.gz`` then
    becomes ``mask_NAME.nii.gz`` per region. Exclusive classes have one label map with the source values of the
    classes, and ``mask.classes.json`` beside the map with their names. A DICOM-SEG has a segment per class.

    Attributes:
        mask: NIfTI; where it ends in .dcm, a DICOM-SEG, which needs a DICOM series.
        maps: by name, of `MAPS`: float32. Of several classes, a file per class, named as masks of regions are.
        labels: the classes of the models.
    """

    mask: pathlib.Path
    maps: Mapping[str, pathlib.Path]
    labels: LabelDefinition = PLAIN

    @property
    def is_dicom(self) -> bool:
        """Whether the mask is a DICOM-SEG."""
        return self.mask.name.endswith(seg_writer.SUFFIX)

    def masks(self) -> dict[str, pathlib.Path]:
        """The files of masks by what they hold, without the names of classes."""
        if self.is_dicom or self.labels.exclusive:
            return {"mask": self.mask}
        return self._by_class("mask", self.mask)

    def map_of(self, what: str, name: str) -> pathlib.Path:
        """The file of a class's map."""
        return self._by_class(what, self.maps[what])[self._key(what, name)]

    def classes_file(self) -> pathlib.Path | None:
        """The JSON file with the names of the values of the label map; None where there is no label map."""
        if self.is_dicom or not self.labels.exclusive:
            return None
        return self.mask.with_name(f"{stem(self.mask)}.classes.json")

    def files(self) -> dict[str, pathlib.Path]:
        """All paths by what they hold."""
        found = self.masks()
        if path := self.classes_file():
            found["classes"] = path
        for what, path in self.maps.items():
            found |= self._by_class(what, path)
        return found

    def _key(self, what: str, name: str) -> str:
        return what if len(self.labels.names) == 1 else f"{what}_{name}"

    def _by_class(self, what: str, path: pathlib.Path) -> dict[str, pathlib.Path]:
        if len(self.labels.names) == 1:
            return {what: path}
        start = stem(path)
        ending = path.name.removeprefix(start)
        return {self._key(what, name): path.with_name(f"{start}_{name}{ending}") for name in self.labels.names}

    def check(self, case: Case) -> None:
        """Refuses names of outputs before any work is done.

        Raises:
            UserError: an output does not end as its format does, would replace an input or another output.
        """
        taken: dict[pathlib.Path, str] = {}
        if self.is_dicom and any(os.path.isfile(path) for path in case.images.values()):
            raise UserError(
                "a DICOM-SEG refers to DICOM images, got a file as input",
                path=self.mask,
                remedy="Name an output that ends in .nii.gz, or the folder of a DICOM series as --input",
            )
        for what, path in self.files().items():
            if path == self.classes_file() or (what == "mask" and self.is_dicom):
                continue
            for image in case.images.values():
                writer.check_output(path, like=image)
            other = taken.setdefault(path.resolve(), what)
            if other != what:
                raise UserError(f"{_flag(other)} and {_flag(what)} name one file", path=path)


def stem(path: pathlib.Path) -> str:
    """A file's name without the ending of NIfTI."""
    return next((path.name.removesuffix(end) for end in (".nii.gz", ".nii") if path.name.endswith(end)), path.name)


def _flag(what: str) -> str:
    return next((f"--{name}" for name in MAPS if what.startswith(name)), "--output")
