"""Pseudonyms of patients: salted hashes, and a map file that stays with the owner of the data.

The map file contains the salt, and the patient and case of each pseudonym. The same map gives the same pseudonyms.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from semicml_tf.conversion.splitting.split import Split
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.system import atomic_files, json_files

_VERSION = 1
_DIGITS, _MORE_DIGITS = 8, 4
_NOTE = "Keep this file to yourself: it names the patient of each pseudonym."


@dataclasses.dataclass(frozen=True)
class Original:
    """The names behind a pseudonym.

    Attributes:
        case: name of the case in the input.
        patient: name of the patient in the input.
    """

    case: str
    patient: str


@dataclasses.dataclass(frozen=True)
class _File:
    """The contents of a map file: cases by pseudonym."""

    version: Literal[_VERSION]
    salt: str
    cases: dict[str, Original]

    def __post_init__(self):
        if len(bytes.fromhex(self.salt)) < 16:
            raise ValueError("the salt is too short")
        bases: dict[str, str] = {}
        for name, one in self.cases.items():
            patient = _plain(one.patient)
            if bases.setdefault(_base(name), patient) != patient:
                raise ValueError(f"{_base(name)!r} stands for two patients")
            if not f"P{_hash(self.salt, patient)}".startswith(_base(name)) or len(_base(name)) <= _DIGITS:
                raise ValueError(f"{name!r} was not made with this salt")
        if len({(one.patient, one.case) for one in self.cases.values()}) != len(self.cases):
            raise ValueError("a case has two pseudonyms")


def default_map(output: str | os.PathLike) -> pathlib.Path:
    """The default path of the map file, beside the folder `output`.

    Raises:
        UserError: `output` is a URL. The map must stay on this machine.
    """
    if "://" in os.fspath(output):
        raise UserError(
            "the map of pseudonyms stays on this machine, but the output does not",
            path=output,
            remedy="Pass --pseudonym_map=FILE.json",
        )
    path = pathlib.Path(output).absolute()
    return path.with_name(f"{path.name}.pseudonyms.json")


def _plain(name: str) -> str:
    # File systems encode umlauts in two ways, which must give the same name.
    return unicodedata.normalize("NFC", name)


class Pseudonyms:
    """The map of pseudonyms, which is written back as a whole when patients are added.

    Attributes:
        path: path of the map file.
    """

    def __init__(self, path: pathlib.Path, salt: str, cases: Mapping[str, Original]):
        self.path, self._salt = path, salt
        self._take(cases)

    def _take(self, cases: Mapping[str, Original]) -> None:
        self._cases = dict(cases)
        self._patients = {_base(pseudonym): one.patient for pseudonym, one in cases.items()}
        self._of_case = {(_plain(one.patient), _plain(one.case)): name for name, one in cases.items()}
        self._names = {_plain(one.case): name for name, one in cases.items()}
        # A patient's name wins over a case's name: it stands for all studies.
        self._names |= {_plain(patient): name for name, patient in self._patients.items()}

    @classmethod
    def open(cls, map_file: str | os.PathLike, *, dataset: str | os.PathLike | None = None) -> Pseudonyms:
        """Reads the map, or makes a new map with a new salt if the file does not exist. Writes nothing.

        Args:
            map_file: path of the map file.
            dataset: folder of the dataset, which must not contain the map.

        Raises:
            UserError: the file is broken, other users may read it, or it lies in the dataset.
        """
        path = pathlib.Path(map_file).absolute()
        if dataset is not None and pathlib.Path(dataset).resolve() in path.resolve().parents:
            raise UserError(
                "the map of pseudonyms must not be in the dataset, because it names the patients",
                path=path,
                remedy="Choose another --pseudonym_map",
            )
        if not os.path.lexists(path):
            return cls(path, secrets.token_hex(32), {})
        return cls(path, *_read(path))

    def original(self, name: str) -> str:
        """The name in the input behind a pseudonym of a case or a patient. Any other name stays."""
        if name in self._patients:
            return self._patients[name]
        return self._cases[name].case if name in self._cases else name

    def pseudonym(self, name: str) -> str:
        """The pseudonym of a patient or a case of the input. Any other name stays."""
        return self._names.get(_plain(name), name)

    def names(self) -> dict[str, str]:
        """The pseudonyms of all patients and cases of the map, by name in the input."""
        known = {one.case: name for name, one in self._cases.items()}
        return known | {patient: name for name, patient in self._patients.items()}

    def rename(self, cases: Sequence[CaseFiles]) -> list[CaseFiles]:
        """The cases under their pseudonyms, sorted by pseudonym. New patients are added to the map file.

        Only `case_id` and `patient_id` change.

        Raises:
            UserError: the map cannot be read or written.
        """
        self._add([Original(case.case_id, case.patient) for case in cases])
        renamed = []
        for case in cases:
            name = self._of_case[_plain(case.patient), _plain(case.case_id)]
            renamed.append(dataclasses.replace(case, case_id=name, patient_id=_base(name)))
        return sorted(renamed, key=lambda case: case.case_id)

    def rename_split(self, split: Split) -> Split:
        """The split under pseudonyms, with its folds. Names that are pseudonyms already stay.

        Names that are not in the input also get a pseudonym, because the dataset contains the split.

        Raises:
            UserError: the map cannot be read or written.
        """
        named = [name for names in (*split.values(), *split.folds) for name in names]
        strangers = {name for name in named if not self._knows(name)}
        self._add([Original(name, name) for name in sorted(strangers)])

        def renamed(names: Sequence[str]) -> tuple[str, ...]:
            known = (name if name in self._cases or name in self._patients else self.pseudonym(name) for name in names)
            return tuple(sorted(known))

        return dataclasses.replace(
            split,
            names={partition: renamed(names) for partition, names in split.items()},
            folds=tuple(renamed(names) for names in split.folds),
        )

    def _knows(self, name: str) -> bool:
        return name in self._cases or name in self._patients or _plain(name) in self._names

    def _add(self, wanted: Sequence[Original]) -> None:
        with _locked(self.path):
            if os.path.lexists(self.path):
                # Another conversion may have added patients since.
                salt, cases = _read(self.path)
                if salt != self._salt and self._cases:
                    raise UserError("another process replaced this map", path=self.path, remedy="Run it again")
                self._salt = salt
                self._take(cases)
            cases = dict(self._cases)
            new = {one for one in wanted if (_plain(one.patient), _plain(one.case)) not in self._of_case}
            if not new:
                return
            studies: dict[str, list[Original]] = {}
            for one in sorted(new, key=lambda one: (one.patient, one.case)):
                studies.setdefault(_plain(one.patient), []).append(one)
            taken = {name: _plain(patient) for name, patient in self._patients.items()}
            for patient, cases_of_patient in studies.items():
                base = _free(self._salt, patient, taken)
                taken[base] = patient
                earlier = sum(_base(name) == base for name in cases)
                alone = earlier == 0 and len(cases_of_patient) == 1
                for number, one in enumerate(cases_of_patient, start=earlier + 1):
                    cases[base if alone else f"{base}-{number}"] = one
            self._take(cases)
            self._write()

    def _write(self) -> None:
        body = {
            "note": _NOTE,
            "version": _VERSION,
            "salt": self._salt,
            "cases": {name: dataclasses.asdict(self._cases[name]) for name in sorted(self._cases)},
        }
        try:
            text = json.dumps(body, indent=1, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a file name that is no text in any encoding
            text = json.dumps(body, indent=1).encode()
        atomic_files.write_file(self.path, lambda stream: stream.write(text + b"\n"), private=True)


def _base(pseudonym: str) -> str:
    """The patient's part of a case's pseudonym."""
    return pseudonym.partition("-")[0]


def _hash(salt: str, patient: str) -> str:
    return hmac.new(bytes.fromhex(salt), patient.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest().upper()


def _free(salt: str, patient: str, taken: Mapping[str, str]) -> str:
    """A patient's pseudonym, which is longer if another patient has the short one."""
    digest, digits = _hash(salt, patient), _DIGITS
    while taken.get(f"P{digest[:digits]}", patient) != patient:
        digits += _MORE_DIGITS
    return f"P{digest[:digits]}"


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    """Keeps two conversions at the same time from making two salts, or from losing patients."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"the map of pseudonyms cannot be written here ({error.strerror})",
            path=path,
            remedy="Choose another --pseudonym_map",
        ) from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks: one conversion at a time is safe
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read(path: pathlib.Path) -> tuple[str, dict[str, Original]]:
    """Salt and cases of a map file."""
    remedy = "Restore it, or choose another --pseudonym_map: without it nobody knows the patients"
    if path.is_file() and path.stat().st_mode & 0o077:
        raise UserError(
            "this map names the patients, but other users of this machine have access to it "
            f"(mode {path.stat().st_mode & 0o777:04o}, expected 0600)",
            path=path,
            remedy=f"chmod 600 {path.name}",
        )
    body = json_files.read(
        path, _File, what="a map of pseudonyms", remedy=remedy, max_bytes=json_files.MAX_BYTES_OF_CASES
    )
    return body.salt, body.cases
