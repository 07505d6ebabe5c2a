"""Cases in a folder each, their files named after it: what all years of BraTS share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names
from semicml_tf.files.layouts.near_match import near_match
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.files.source import NiftiFile

_GRADES = ("HGG", "LGG")


@dataclasses.dataclass(frozen=True)
class Names:
    """How one generation of BraTS names its files.

    Attributes:
        layout: name of the layout.
        words: what stands behind the case's name, by our name of the modality.
        between: what stands between the two.
        patient: the patient's name, from the case's.
    """

    layout: str
    words: Mapping[str, str]
    between: str
    patient: Callable[[str], str]

    def case_folders(self, root: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str]]]:
        """The folders of cases under `root`, directly or in ``HGG`` and ``LGG``, and their NIfTI files."""
        for parent in (root, *(root / grade for grade in _GRADES)):
            for name in folders.entries(parent)[0]:
                files = folders.nifti_files(parent / name)
                stems = {self._stem(name, word) for word in (*self.words.values(), "seg")}
                if any(folders.stem(file) in stems for file in files):
                    yield parent / name, files

    def detect(self, root: pathlib.Path) -> bool:
        """Whether one folder under `root` is a case."""
        return root.is_dir() and any(True for _ in self.case_folders(root))

    def places(self, root: pathlib.Path) -> list[pathlib.Path]:
        """The folders that may hold files of cases: `root`, ``HGG``, ``LGG``, and the folders in them."""
        parents = [root, *(root / grade for grade in _GRADES)]
        inner = [parent / name for parent in parents for name in folders.entries(parent)[0]]
        return list(dict.fromkeys([*parents, *inner]))

    def find(self, root: pathlib.Path, asked: Sequence[str], options: LayoutOptions) -> list[CaseFiles]:
        """Lists the cases, sorted by name; `asked` holds our names or the layout's own.

        Raises:
            UserError: a modality that this layout does not know; a case or file that is there twice.
        """
        wanted = modality_names.among(asked, tuple(self.words), layout=self.layout, path=root)
        cases: dict[str, CaseFiles] = {}
        seen: dict[str, pathlib.Path] = {}
        for place, files in self.case_folders(root):
            case = self._case(place, files, wanted, options)
            if case.case_id in cases:
                raise UserError(
                    f"case {case.case_id} is there twice, also as {place}",
                    path=seen[case.case_id],
                    remedy="Remove or rename one of them",
                )
            cases[case.case_id], seen[case.case_id] = case, place
        return [cases[name] for name in sorted(cases)]

    def _stem(self, case: str, word: str) -> str:
        return f"{case}{self.between}{word}"

    def _case(self, place: pathlib.Path, files: list[str], wanted: Mapping[str, str], options) -> CaseFiles:
        there = frozenset(files)
        known = {self._stem(place.name, word) for word in (*self.words.values(), "seg")}
        strangers = [file for file in files if folders.stem(file) not in known]
        sources, near_matches = {}, {}
        for what, word in [*((name, self.words[ours]) for name, ours in wanted.items()), ("label", "seg")]:
            path = folders.existing_or_expected(place, self._stem(place.name, word), there)
            if path.name not in there:
                near = near_match(path, "seg" if what == "label" else wanted[what], strangers)
                if near is not None:
                    near_matches[what] = near
                    path = near if options.accept_near_matches else path
            sources[what] = NiftiFile(path)
        label = sources.pop("label")
        case_id = folders.case_name(place.name)
        return CaseFiles(
            case_id, images=sources, label=label, patient_id=self.patient(case_id), near_matches=near_matches
        )
