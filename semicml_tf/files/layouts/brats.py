"""The layouts of BraTS: each case has a folder, and its files are named after the case, zipped or not.

BraTS 2018 to 2021 have ``CASE/CASE_t2.nii.gz``, ..., ``CASE/CASE_seg.nii.gz``. Until 2019 the cases lie in the two
folders ``HGG`` and ``LGG``. BraTS since 2023 has ``CASE/CASE-t2f.nii.gz``, t1n, t1c, t2w, seg.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names, summary
from semicml_tf.files.layouts.modality_names import canonical
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

_GRADES = ("HGG", "LGG")


@dataclasses.dataclass(frozen=True)
class CaseFolders:
    """A layout in which each case has a folder; it has the attributes that `catalogue.choose` lists.

    Attributes:
        NAME: name of the layout.
        DESCRIPTION: its files, for messages.
        title: returns the start of the description of a folder, from its case names.
        words: suffix of a file's name, by the usual name of the modality.
        between: separator between the case's name and the suffix.
        study: matches the name of a case that is one of several studies of a patient. Its group is the patient's name.
    """

    NAME: str
    DESCRIPTION: str
    title: Callable[[Sequence[str]], str]
    words: Mapping[str, str]
    between: str
    study: re.Pattern

    def detect(self, root: pathlib.Path) -> bool:
        """Whether one folder under `root` is a case."""
        return root.is_dir() and any(True for _ in self._case_folders(root))

    def modalities(self, root: pathlib.Path) -> tuple[str, ...]:
        """Names of the layout's modalities."""
        return tuple(self.words)

    def describe(self, root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
        """What the folder contains, in one sentence; raises as `find`."""
        cases = self.find(root, tuple(self.words), options)
        return summary.describe(self.title([case.case_id for case in cases]), cases)

    def oddities(
        self, root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT
    ) -> list[summary.Oddity]:
        """The files that no case claims."""
        parents = _parents(root)
        inner = [parent / name for parent in parents for name in folders.entries(parent)[0]]
        files = folders.volumes(dict.fromkeys([*parents, *inner]))
        return summary.unclaimed(self.find(root, tuple(self.words), options), files, self.DESCRIPTION)

    def find(self, root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
        """Lists the cases, sorted by name.

        Args:
            root: folder with one folder per case, directly or in ``HGG`` and ``LGG``.
            modalities: names to look for, the usual ones or the layout's.
            options: the user's choices for the folder.

        Raises:
            UserError: the layout lacks a modality, or a case or file exists twice.
        """
        wanted = modality_names.among(modalities, tuple(self.words), layout=self.NAME, path=root)
        cases: dict[str, CaseFiles] = {}
        seen: dict[str, pathlib.Path] = {}
        for place, files in self._case_folders(root):
            case = self._case(place, files, wanted, options)
            if case.case_id in cases:
                raise UserError(
                    f"case {case.case_id} is there twice, also as {place}",
                    path=seen[case.case_id],
                    remedy="Remove or rename one of them",
                )
            cases[case.case_id], seen[case.case_id] = case, place
        return [cases[name] for name in sorted(cases)]

    def _case_folders(self, root: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str]]]:
        """The folders of cases under `root`, and the names of their NIfTI files."""
        for parent in _parents(root):
            for name in folders.entries(parent)[0]:
                files = folders.nifti_files(parent / name)
                stems = self._stems(name)
                if any(folders.stem(file) in stems for file in files):
                    yield parent / name, files

    def _stem(self, case: str, word: str) -> str:
        return f"{case}{self.between}{word}"

    def _stems(self, case: str) -> set[str]:
        return {self._stem(case, word) for word in (*self.words.values(), "seg")}

    def _case(self, place: pathlib.Path, files: list[str], wanted: Mapping[str, str], options) -> CaseFiles:
        present = frozenset(files)
        known = self._stems(place.name)
        unknown = [file for file in files if folders.stem(file) not in known]
        sources, near_matches = {}, {}
        for what, word in [*((name, self.words[ours]) for name, ours in wanted.items()), ("label", "seg")]:
            path = folders.existing_or_expected(place, self._stem(place.name, word), present)
            if path.name not in present:
                near = _near_match(path, "seg" if what == "label" else wanted[what], unknown)
                if near is not None:
                    near_matches[what] = near
                    path = near if options.accept_near_matches else path
            sources[what] = NiftiFile(path)
        label = sources.pop("label")
        case_id = folders.case_name(place.name)
        study = self.study.fullmatch(case_id)
        return CaseFiles(
            case_id,
            images=sources,
            label=label,
            patient_id=study[1] if study else case_id,
            near_matches=near_matches,
        )


def _parents(root: pathlib.Path) -> list[pathlib.Path]:
    """The folders that may contain folders of cases."""
    return [root, *(root / grade for grade in _GRADES)]


def _near_match(expected: pathlib.Path, word: str, others: Collection[str]) -> pathlib.Path | None:
    """The only misnamed file that may be the missing file; None if there is none, or more than one.

    Args:
        expected: the missing file.
        word: what the file is: ``seg``, or a modality's name.
        others: names of the folder's NIfTI files that belong to no case.
    """
    matches = [name for name in others if _names(folders.stem(name).lower(), word, expected.parent.name.lower())]
    return expected.parent / matches[0] if len(matches) == 1 else None


def _names(name: str, word: str, case: str) -> bool:
    """Whether a file's name, without the case's, has the word."""
    words = [part for part in re.split(r"[^a-z0-9]+", name.removeprefix(case)) if part]
    if word == "seg":
        return any(part.startswith("seg") for part in words)
    return any(canonical(part) == word for part in words)


def _title(case_ids: Sequence[str]) -> str:
    matches = [re.match(r"brats(20)?(\d\d)_", case_id, re.IGNORECASE) for case_id in case_ids]
    years = sorted({f"20{match[2]}" for match in matches if match})
    return f"BraTS {', '.join(years)}" if years else "BraTS of 2018 to 2021"


def _title_since_2023(case_ids: Sequence[str]) -> str:
    matches = [re.match(r"BraTS-([A-Za-z]+)-", case_id) for case_id in case_ids]
    return ", ".join(["BraTS of 2023 or later", *sorted({match[1] for match in matches if match})])


BRATS = CaseFolders(
    NAME="brats",
    DESCRIPTION="CASE/CASE_t2.nii.gz, _t1ce, _flair, _t1, CASE/CASE_seg.nii.gz (BraTS 2018 to 2021, .nii as well)",
    title=_title,
    words={name: name for name in ("t1", "t1ce", "t2", "flair")},
    between="_",
    # Until 2019 a case's name ends in the number of the patient's study.
    study=re.compile(r"(brats1\d_.+)_\d+", re.IGNORECASE),
)
BRATS_2023 = CaseFolders(
    NAME="brats2023",
    DESCRIPTION="CASE/CASE-t2f.nii.gz, -t1n, -t1c, -t2w, CASE/CASE-seg.nii.gz (BraTS since 2023)",
    title=_title_since_2023,
    words={"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"},
    between="-",
    # The last number of a case's name is the time of the study.
    study=re.compile(r"(.+-\d+)-\d{3}"),
)
