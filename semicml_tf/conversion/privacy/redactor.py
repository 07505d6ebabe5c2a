"""Removes the names and the paths of the input from messages, findings and command lines.

The path of a source becomes ``PSEUDONYM/MODALITY``, any other path of the input ``INPUT/...``, and a name its
pseudonym. After an unknown path, the rest of the clause is removed, too: it may be a name with spaces.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import pathlib
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError, printable
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts.catalogue import LAYOUTS
from semicml_tf.records.case_record import PARTITIONS

INPUT = "INPUT"
_HIDDEN = "…"
_MOST_NAMES = 100_000
_ENDING = re.compile(r"(?:\.nii|\.json|\.csv|\.tsv|\.dcm|\.mha|\.nrrd)?(?:\.gz)?$", re.IGNORECASE)
# A name is no part of a word or number, but underscores and dashes may join it to the rest of a file's name.
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
# A short name, e.g. "1", counts as a name only after one of these words, or in quotes.
_SAID = r"(?P<said>\b(?:cases?|patients?|subjects?|sub|study)[ =:_-]*['\"]?)"
_PATH_START, _PATH_END = r"(?<![\w.~-])", r"(?![\w~-]|\.\w)"
# From a slash to a quote, to the end of the clause, or to the end of the line.
_TAIL = rf"(?P<tail>{os.sep}(?:(?!: |\.(?:\s|$))[^'\"\n])*)?"
# Words of messages, and names of folders in any layout. They are never names of patients.
_WORDS = {
    "images", "labels", "label", "seg", "ct", "pt", "pet", "mr", "case", "patient", "image", "volume", "scan", "series",
    "split", "split.json", "dataset",
}  # fmt: skip


class Redactor:
    """Knows the input's root, its files and its names.

    Args:
        root: the input as it was given, a folder or a file.
        cases: cases of the input, under their pseudonyms. Without cases, every name of a file or folder, and every
            cell of a manifest, is hidden.
        names: pseudonyms by name in the input; see `Pseudonyms.names`.
    """

    def __init__(
        self, root: str | os.PathLike, cases: Sequence[CaseFiles] = (), names: Mapping[str, str] | None = None
    ):
        root = pathlib.Path(root)
        self._base = root.parent if root.suffix and not root.is_dir() else root
        self._roots = {form for path in {root, self._base} for form in _path_forms(path, self._base)} - {"/", ".", ""}
        self._fixed = _fixed_names()
        self._known: dict[str, str] = {}
        if not cases:
            self._known = {form: _HIDDEN for name in _names_in(root) for form in _forms(name)}
        self._add_sources(cases)
        self._known |= {form: pseudonym for name, pseudonym in (names or {}).items() for form in _forms(name)}
        words = self._fixed | {name.lower() for case in cases for name in case.images}
        self._short = {name for name in self._known if _is_short(name) or name.lower() in words}

    def _add_sources(self, cases: Sequence[CaseFiles]) -> None:
        """Adds the paths and names of all sources, and of the folders that belong to one patient alone."""
        shown: dict[str, str] = {}
        patients: dict[str, set[str]] = collections.defaultdict(set)
        for case in cases:
            for what, path in _sources(case):
                texts = dict.fromkeys((str(path), path.name, _ENDING.sub("", path.name)), f"{case.case_id}/{what}")
                # Outside the input, only the innermost folder is taken for the patient's.
                parents = path.parents if path.is_relative_to(self._base) else path.parents[:1]
                for folder in itertools.takewhile(lambda folder: folder != self._base, parents):
                    texts |= dict.fromkeys((str(folder), folder.name), case.patient)
                for text, replacement in texts.items():
                    patients[text].add(case.patient)
                    shown.setdefault(text, replacement)
        words = self._fixed | {name.lower() for case in cases for name in case.images}
        for text, owners in patients.items():
            if len(owners) == 1 and text.lower() not in words:
                forms = _path_forms(pathlib.Path(text), self._base) if os.sep in text else _forms(text)
                for form in forms:
                    self._known.setdefault(form, shown[text])

    def text(self, text: str) -> str:
        """`text` without any name or path of the input."""
        # Only known texts that occur in `text`: a pattern of thousands of paths would take a second per message.
        known = sorted((one for one in self._known if one in text), key=len, reverse=True)
        roots = sorted((one for one in self._roots if one in text), key=len, reverse=True)
        paths = "|".join([*(re.escape(one) for one in known if os.sep in one), *map(_root_pattern, roots)])
        long = "|".join(re.escape(one) for one in known if os.sep not in one and one not in self._short)
        short = "|".join(re.escape(one) for one in known if one in self._short)
        parts = [rf"{_PATH_START}(?P<path>{paths}){_PATH_END}{_TAIL}"] if paths else []
        parts += [rf"{_START}(?P<long>{long}){_END}"] if long else []
        parts += [rf"{_SAID}(?P<short>{short}){_END}(?![.,]\d)"] if short else []
        parts += [rf"(?<=['\"])(?P<quoted>{short})(?=['\"])"] if short else []

        def shown(match: re.Match) -> str:
            groups = match.groupdict()
            name = next(groups[key] for key in ("path", "long", "short", "quoted") if groups.get(key))
            unknown = INPUT + (f"/{_HIDDEN}" if groups.get("tail") else "")
            return (groups.get("said") or "") + self._known.get(name, unknown)

        return re.sub("|".join(parts), shown, text) if parts else text

    def path(self, path: str) -> str:
        """A text that is a path and nothing else, without any name. Fixed names of the layouts stay."""
        known = path
        while known not in self._known and known not in self._roots:
            if known == os.path.dirname(known):
                return self.text(path)
            known = os.path.dirname(known)
        if known in self._known:
            return self._known[known]
        parts = [part for part in path[len(known) :].split(os.sep) if part]
        return "/".join([INPUT, *(part if part.lower() in self._fixed else _hidden(part) for part in parts)])

    def error(self, error: UserError) -> UserError:
        """The same error, without any name or path."""
        return UserError(
            self.text(error.problem),
            path=None if error.path is None else self.path(error.path),
            remedy=None if error.remedy is None else self.text(error.remedy),
        )

    def finding(self, finding: Finding) -> Finding:
        """The same finding, without any name or path."""
        return dataclasses.replace(
            finding,
            case=self._known.get(finding.case, finding.case),
            file=self.path(finding.file),
            problem=self.text(finding.problem),
            remedy=self.text(finding.remedy),
        )


def _sources(case: CaseFiles) -> Iterator[tuple[str, pathlib.Path]]:
    """The paths of a case, each with what it holds."""
    yield from ((name, source.path) for name, source in case.images.items())
    yield from (("label", source.path) for source in [case.label] if source)
    yield from (("label_on", source.path) for source in [case.label_on] if source)
    yield from ((f"{name} (misnamed)", path) for name, path in case.near_matches.items())


def _forms(text: str) -> set[str]:
    """The spellings of a name or a path: both forms of Unicode; as `printable`, `repr` and a shell write them."""
    forms = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}
    forms |= {printable(form) for form in forms} | {repr(form)[1:-1] for form in forms}
    return forms | {shlex.quote(form).removeprefix("'").removesuffix("'") for form in forms}


def _path_forms(path: pathlib.Path, base: pathlib.Path) -> set[str]:
    """The spellings of a path: as given, absolute, and below the base without its links."""
    paths = {path, path.absolute()}
    if path.is_relative_to(base):
        paths.add(base.resolve() / path.relative_to(base))
    return {form for one in paths for form in _forms(str(one))}


def _root_pattern(root: str) -> str:
    # A relative root, e.g. "data", may also be a word. As a path it is followed by a slash, or is a flag's value.
    text = re.escape(root)
    return text if os.path.isabs(root) else rf"(?<!/){text}(?={os.sep})|(?<==){text}(?![/.])"


def _is_short(name: str) -> bool:
    return len(name) <= 2 or (name.isdigit() and len(name) <= 4)


def _hidden(part: str) -> str:
    return _HIDDEN + (_ENDING.search(part)[0] if "." in part else "")


def _fixed_names() -> set[str]:
    """Names, in lower case, that may be shown: words of messages, and the fixed names of the layouts."""
    fixed = (name for layout in LAYOUTS.values() for name in getattr(layout, "FIXED_NAMES", ()))
    return _WORDS | {name.lower() for name in fixed}


def _names_in(root: pathlib.Path) -> set[str]:
    """Possible names in an input without known cases: names of folders and files, cells of a manifest."""
    names: set[str] = set()
    if root.suffix.lower() == ".csv" and os.access(root, os.R_OK) and root.is_file():
        lines = root.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        cells = {cell.strip() for line in lines for cell in re.split(r"[,;\t\"]", line)}
        names |= cells | {part for cell in cells for part in cell.split("/")}
    for _, folders, files in os.walk(root if root.is_dir() else os.devnull):
        if len(names) > _MOST_NAMES:
            break
        names.update(folders, files)
    names |= {_ENDING.sub("", name) for name in names}
    # Layouts append a modality to the name of a case.
    names |= {name.split("__")[0] for name in names} | {name.rpartition("_")[0] for name in names}
    plain = {*_fixed_names(), *PARTITIONS}
    return {name for name in names if name and name.lower() not in plain}
