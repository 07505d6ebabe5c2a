"""Takes names and paths of the input out of whatever is told: messages, findings, command lines.

A source's path becomes ``PSEUDONYM/MODALITY``, any other path of the input ``INPUT/...``, a name its pseudonym.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence

from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError, printable
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts.catalogue import LAYOUTS
from semicml_tf.records.case_record import PARTITIONS

INPUT = "INPUT"
_HIDDEN = "…"
_MOST_NAMES = 100_000
# Not a part of a name, a number or a word: an underscore or a dash may stand between a name and the rest of a file's.
_START, _END = r"(?<![^\W_])", r"(?![^\W_])"
# Where a name stands that is too short, or too plain a number, to be one wherever it is found.
_SAID = r"\b(?:cases?|patients?|subjects?|sub|study)[ =:_-]*['\"]?"
# Where a path may end: it goes on with a slash, or neither a name nor an ending goes on.
_PATH_END = rf"(?={os.sep}|[^\w.~-]|\.(?:\s|$)|$)"
_SUFFIX = re.compile(r"(?:\.nii|\.json|\.csv|\.tsv|\.dcm|\.mha|\.nrrd)?(?:\.gz)?$", re.IGNORECASE)
# Words of messages, and of folders in any layout: no patient has such a name.
_WORDS = {
    "images", "labels", "label", "seg", "ct", "pt", "pet", "mr", "case", "patient", "image", "volume", "scan", "series",
    "split", "split.json", "dataset",
}  # fmt: skip
# Up to a known ending, spaces included, but not beyond a quote or the end of a clause.
_TO_AN_ENDING = re.compile(r"(?:(?!: |\. )[^'\"\n])*?\.(?:nii(?:\.gz)?|json|csv|tsv|dcm)(?![\w.])", re.IGNORECASE)
_TO_A_BREAK = re.compile(r"[^\s'\",;]*?(?=[.:)\]]*(?:[\s'\",;]|$))")


def _variants(text: str) -> set[str]:
    """How a text may have been written: in either form of Unicode, by repr, quoted for a shell."""
    forms = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}
    return (
        forms
        | {printable(form) for form in forms}
        | {repr(form)[1:-1] for form in forms}
        | {shlex.quote(form).removeprefix("'").removesuffix("'") for form in forms}
    )


def _is_short(name: str) -> bool:
    return len(name) <= 2 or (name.isdigit() and len(name) <= 4)


def _plain() -> set[str]:
    """Names, in lower case, that may be shown: words of messages, and the fixed names of the layouts."""
    fixed = (name for layout in LAYOUTS.values() for name in getattr(layout, "FIXED_NAMES", ()))
    return _WORDS | {name.lower() for name in fixed}


def _found(root: pathlib.Path) -> set[str]:
    """What may be a name in an input whose cases are not known: names of folders and files, cells of a manifest."""
    names: set[str] = set()
    if root.suffix.lower() == ".csv" and os.access(root, os.R_OK) and root.is_file():
        lines = root.read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        cells = {cell.strip() for line in lines for cell in re.split(r"[,;\t\"]", line)}
        names |= cells | {part for cell in cells for part in cell.split("/")}
    for _, folders, files in os.walk(root if root.is_dir() else os.devnull):
        if len(names) > _MOST_NAMES:
            break
        names.update(folders, files)
    names |= {_SUFFIX.sub("", name) for name in names}
    # What layouts put behind the name of a case.
    names |= {name.split("__")[0] for name in names} | {name.rpartition("_")[0] for name in names}
    plain = {*_plain(), *PARTITIONS}
    return {name for name in names if name and name.lower() not in plain}


class Redactor:
    """Knows the input's root, its cases' files and the names in it.

    Args:
        root: the input as it was given, folder or file.
        cases: of the input, under their pseudonyms; none while it is not known what they are: every name of a
            file or folder, and every cell of a manifest, is then hidden.
        names: pseudonyms by name in the input, as `Pseudonyms.names` tells them.
    """

    def __init__(
        self, root: str | os.PathLike, cases: Sequence[CaseFiles] = (), names: Mapping[str, str] | None = None
    ):
        root = pathlib.Path(root)
        base = root.parent if root.suffix and not root.is_dir() else root
        self._bases = sorted({form for one in (base, base.absolute(), base.resolve()) for form in _variants(str(one))})
        self._bases = [one for one in self._bases if one not in ("/", ".", "")]
        self._resolved = base.resolve()
        self._paths: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._shared: set[str] = set()
        self._folders = _plain()
        self._plain = self._folders | {name.lower() for case in cases for name in case.images}
        self._sources(cases, base)
        if not cases:
            self._words = {form: _HIDDEN for name in _found(root) for form in _variants(name)}
        for name, pseudonym in (names or {}).items():
            for form in _variants(name):
                self._words[form] = pseudonym
        self._short = {name for name in self._words if _is_short(name) or name.lower() in self._plain}
        if root != base:
            for form in (root, root.absolute(), root.resolve()):
                self._paths |= dict.fromkeys(_variants(str(form)), INPUT)

    def _sources(self, cases: Sequence[CaseFiles], base: pathlib.Path) -> None:
        """Takes in the paths of all sources, and the folders and file names that are one patient's alone."""
        owners: dict[str, set[str]] = {}
        told: dict[str, str] = {}
        for case in cases:

            def own(name: str, told_instead: str, patient: str = case.patient) -> None:
                owners.setdefault(name, set()).add(patient)
                told.setdefault(name, told_instead)

            held = {name: source.path for name, source in case.images.items()}
            held |= {"label": case.label.path} if case.label else {}
            held |= {"label_on": case.label_on.path} if case.label_on else {}
            held |= {f"{name} (misnamed)": path for name, path in case.near_matches.items()}
            for what, path in held.items():
                instead = f"{case.case_id}/{what}"
                self._add_path(path, instead, base)
                own(path.name, instead)
                own(_SUFFIX.sub("", path.name), instead)
                # Elsewhere than in the input, only the next folder is taken for the patient's.
                for folder in path.parents if path.is_relative_to(base) else path.parents[:1]:
                    if folder == base:
                        break
                    own(str(folder), case.patient)
                    own(folder.name, case.patient)
        for name, patients in owners.items():
            if len(patients) > 1:
                self._shared.add(name)
            elif os.sep in name:
                self._add_path(pathlib.Path(name), told[name], base)
            elif name.lower() not in self._plain:
                for form in _variants(name):
                    self._words.setdefault(form, told[name])

    def _add_path(self, path: pathlib.Path, told: str, base: pathlib.Path) -> None:
        forms = {path, path.absolute()}
        if path.is_relative_to(base):
            forms.add(self._resolved / path.relative_to(base))
        for form in forms:
            for text in _variants(str(form)):
                self._paths.setdefault(text, told)

    def text(self, text: str) -> str:
        """`text` without any name or path of the input."""
        told, rest = [], text
        pattern = self._path_pattern(text)
        while pattern and (found := pattern.search(rest)):
            end = self._end(rest, found)
            told += [self._no_names(rest[: found.start()]), self._of_path(found[0], rest[found.end() : end])]
            rest = rest[end:]
        return "".join([*told, self._no_names(rest)])

    def path(self, path: str) -> str:
        """A text that is a path and nothing else, likewise."""
        known = path
        while known not in self._paths and known not in self._bases:
            if known == os.path.dirname(known):
                return self.text(path)
            known = os.path.dirname(known)
        return self._of_path(known, path[len(known) :])

    def error(self, error: UserError) -> UserError:
        """The same mistake, told so."""
        return UserError(
            self.text(error.problem),
            path=None if error.path is None else self.path(error.path),
            remedy=None if error.remedy is None else self.text(error.remedy),
        )

    def finding(self, finding: Finding) -> Finding:
        """The same finding, told so."""
        return dataclasses.replace(
            finding,
            case=self._words.get(finding.case, finding.case),
            file=self.path(finding.file),
            problem=self.text(finding.problem),
            remedy=self.text(finding.remedy),
        )

    def _path_pattern(self, text: str) -> re.Pattern | None:
        # Of thousands of paths the few that occur; an alternation of all of them would take a second a text.
        known = [path for path in self._paths if path in text]
        begun = [base for base in self._bases if base in text]
        parts = []
        for path in sorted((*known, *begun), key=len, reverse=True):
            if os.path.isabs(path):
                parts.append(rf"(?<![\w.~-]){re.escape(path)}{_PATH_END}")
            elif path in self._paths:
                parts.append(rf"(?<![\w.~/-]){re.escape(path)}{_PATH_END}")
            else:
                # "data" is a folder where a path goes on or a flag has it, and a word elsewhere.
                parts.append(rf"(?<![\w.~/-]){re.escape(path)}(?={os.sep})|(?<==){re.escape(path)}(?![\w/.-])")
        return re.compile("|".join(parts)) if parts else None

    def _end(self, text: str, found: re.Match) -> int:
        """Where the path ends that begins with what was found: names hold spaces, sentences go on after a path."""
        start = found.end()
        if not text.startswith(os.sep, start):
            return start
        line = text[start:].split("\n", 1)[0]
        before = text[found.start() - 1] if found.start() else ""
        if before in ("'", '"') and before in line:
            return start + line.index(before)
        ends = [match.start() for match in re.finditer(r"[\s'\",;:.)\]]|$", line)]
        for end in reversed(ends[:100]):
            if end and os.path.lexists(found[0] + line[:end]):
                return start + end
        ending, stop = _TO_AN_ENDING.match(line), _TO_A_BREAK.match(line)
        return start + (ending or stop).end()

    def _of_path(self, known: str, tail: str) -> str:
        """What is told of a path that begins with a known one and goes on with `tail`."""
        if known in self._paths:
            return self._paths[known]  # beneath it lies what is one patient's alone
        parts = [part for part in tail.split(os.sep) if part]
        return "/".join([INPUT, *(self._part(part) for part in parts)])

    def _part(self, part: str) -> str:
        if part in self._shared or part.lower() in self._folders:
            return part
        return self._words.get(_SUFFIX.sub("", part), _HIDDEN) + (_SUFFIX.search(part)[0] if "." in part else "")

    def _no_names(self, text: str) -> str:
        words = sorted((word for word in self._words if word in text), key=len, reverse=True)
        if not words:
            return text
        long = "|".join(re.escape(word) for word in words if word not in self._short)
        short = "|".join(re.escape(word) for word in words if word in self._short)
        parts = []
        if long:
            parts.append(rf"{_START}(?P<long>{long}){_END}")
        if short:
            parts.append(rf"(?P<said>{_SAID})(?P<short>{short}){_END}(?![.,]\d)")
            parts.append(rf"(?P<open>['\"])(?P<quoted>{short})(?=['\"])")

        def told(found: re.Match) -> str:
            held = found.groupdict()
            word = held.get("long") or held.get("short") or held.get("quoted")
            return (held.get("said") or held.get("open") or "") + self._words[word]

        return re.sub("|".join(parts), told, text)
