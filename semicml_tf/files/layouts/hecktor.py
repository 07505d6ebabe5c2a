"""The layouts of HECKTOR: cases share folders, and a file's name is the case's name and a suffix.

HECKTOR 2022 has ``imagesTr/CASE__CT.nii.gz``, ``CASE__PT.nii.gz`` and ``labelsTr/CASE.nii.gz``; cases in ``imagesTs``
are read, too, with labels in ``labelsTs``. HECKTOR 2020 and 2021 have ``CASE_ct.nii.gz``, ``CASE_pt.nii.gz`` and
``CASE_gtvt.nii.gz`` side by side, in the folder itself or in ``hecktor2021_train/hecktor_nii`` and the like.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names, summary
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile


@dataclasses.dataclass(frozen=True)
class SharedFolders:
    """A layout in which cases share folders; it has the attributes that `catalogue.choose` lists.

    Attributes:
        NAME: of the layout.
        DESCRIPTION: its files, for messages.
        title: start of the description of a folder.
        suffixes: suffix of image names by modality, with ``ct``, on whose grid labels are drawn.
        label_suffix: suffix of label names.
        places: yields the pairs of an image folder and its label folder under a root.
    """

    NAME: str
    DESCRIPTION: str
    title: str
    suffixes: Mapping[str, str]
    label_suffix: str
    places: Callable[[pathlib.Path], Iterator[tuple[pathlib.Path, pathlib.Path]]]

    def detect(self, root: pathlib.Path) -> bool:
        """Whether one folder under `root` has an image of a case."""
        return any(self._case_names(folders.nifti_files(images)) for images, _ in self.places(root))

    def modalities(self, root: pathlib.Path) -> tuple[str, ...]:
        """Names of the modalities that at least one case has."""
        cases = self.find(root, tuple(self.suffixes))
        return tuple(name for name in self.suffixes if any(case.present((name,)) for case in cases))

    def describe(self, root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
        """What the folder contains, in one sentence; raises as `find`."""
        return summary.describe(self.title, self.find(root, self.modalities(root), options))

    def oddities(
        self, root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT
    ) -> list[summary.Oddity]:
        """The files that no case claims."""
        files = folders.volumes(dict.fromkeys(place for pair in self.places(root) for place in pair))
        return summary.unclaimed(self.find(root, tuple(self.suffixes), options), files, self.DESCRIPTION)

    def find(self, root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
        """Lists the cases that have at least one image, sorted by name.

        Args:
            root: folder of the layout.
            modalities: names to look for.
            options: the user's choices for the folder.

        Raises:
            UserError: the layout lacks a modality, or a case or file exists twice.
        """
        wanted = modality_names.among(modalities, tuple(self.suffixes), layout=self.NAME, path=root)
        cases: dict[str, CaseFiles] = {}
        for images, labels in self.places(root):
            for case in self._cases(images, labels, wanted):
                if case.case_id in cases:
                    raise UserError(
                        f"case {case.case_id} is there twice, also beside {cases[case.case_id].label_on.path}",
                        path=case.label_on.path,
                        remedy="Remove or rename one of them",
                    )
                cases[case.case_id] = case
        return [cases[name] for name in sorted(cases)]

    def _case_names(self, files: Sequence[str]) -> list[str]:
        """Names of the cases with an image among these names of NIfTI files."""
        stems = [(folders.stem(name), suffix) for name in files for suffix in self.suffixes.values()]
        return sorted({stem.removesuffix(suffix) for stem, suffix in stems if stem.endswith(suffix)} - {""})

    def _cases(self, images: pathlib.Path, labels: pathlib.Path, wanted: Mapping[str, str]) -> Iterator[CaseFiles]:
        present = frozenset(folders.nifti_files(images))
        labels_present = present if labels == images else frozenset(folders.nifti_files(labels))

        def image(case, name):
            return NiftiFile(folders.existing_or_expected(images, case + self.suffixes[name], present))

        for case in self._case_names(sorted(present)):
            yield CaseFiles(
                case_id=folders.case_name(case),
                images={name: image(case, ours) for name, ours in wanted.items()},
                label=NiftiFile(folders.existing_or_expected(labels, case + self.label_suffix, labels_present)),
                # Labels have the grid of CT, even if CT is not converted.
                label_on=image(case, "ct"),
            )


def _parts(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    for part in ("Tr", "Ts"):
        yield root / f"images{part}", root / f"labels{part}"


def _side_by_side(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """`root`, and the folders ``hecktor_nii*`` in it or in its folders ``hecktor*``, with images and labels."""
    yield root, root
    for part in [root, *(root / name for name in folders.entries(root)[0] if name.lower().startswith("hecktor"))]:
        for name in folders.entries(part)[0]:
            if name.lower().startswith("hecktor_nii"):
                yield part / name, part / name


HECKTOR = SharedFolders(
    NAME="hecktor",
    DESCRIPTION="imagesTr/CASE__CT.nii.gz, CASE__PT.nii.gz, labelsTr/CASE.nii.gz (HECKTOR 2022)",
    title="HECKTOR 2022",
    suffixes={"ct": "__CT", "pet": "__PT", "mr": "__MR"},
    label_suffix="",
    places=_parts,
)
HECKTOR_2021 = SharedFolders(
    NAME="hecktor2021",
    DESCRIPTION="CASE_ct.nii.gz, CASE_pt.nii.gz, CASE_gtvt.nii.gz in one folder or in hecktor_nii (HECKTOR 2020, 2021)",
    title="HECKTOR 2020 or 2021",
    suffixes={"ct": "_ct", "pet": "_pt"},
    label_suffix="_gtvt",
    places=_side_by_side,
)
