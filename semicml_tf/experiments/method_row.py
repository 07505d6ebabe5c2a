"""Rows of an experiment's table: a name, flags of `semicml_tf.train`, and the cells of the grid."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
from collections.abc import Iterator, Sequence

from semicml_tf.errors import UserError
from semicml_tf.experiments.run_spec import ALL

_EXAMPLE = "For example --row=mean teacher: --method=mean_teacher --unlabelled_weight=2"
# Flags that the experiment sets for each run.
_SET_BY_EXPERIMENT = ("dataset", "output", "resume", "seed", "flagfile")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: in the table.
        flags: of `semicml_tf.train`.
        modality_sets, labelled, seeds: cells of the grid that the row has.
    """

    name: str
    flags: tuple[str, ...]
    modality_sets: tuple[tuple[str, ...], ...]
    labelled: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def slug(self) -> str:
        """The name of the row's folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def parse_modality_sets(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Parses ``ct:pet:mr,ct:pet``.

    Raises:
        UserError: an item is not a list of different names, or is repeated.
    """
    sets = tuple(tuple(text.split(":")) for text in texts)
    if not sets or any(len(set(names)) != len(names) or not all(map(str.isidentifier, names)) for names in sets):
        raise UserError(
            f"expected different modalities in each of --modality_sets, got '{','.join(texts)}'",
            remedy="Write ct:pet:mr,ct:pet",
        )
    return _distinct(sets, "modality_sets", texts)


def parse_labelled(texts: Sequence[str]) -> tuple[str, ...]:
    """Parses ``2,4,all``.

    Raises:
        UserError: an item is neither a number above 0 nor ``all``, or is repeated.
    """
    if not texts or not all(text == ALL or re.fullmatch("[1-9][0-9]*", text) for text in texts):
        raise UserError(
            f"expected numbers of patients above 0, or {ALL}, in --labelled_patients, got '{','.join(texts)}'",
            remedy=f"Write 2,4,{ALL}",
        )
    return _distinct(tuple(texts), "labelled_patients", texts)


def parse_seeds(texts: Sequence[str]) -> tuple[int, ...]:
    """Parses ``0,1,2``.

    Raises:
        UserError: an item is not a whole number of at least 0, or is repeated.
    """
    if not texts or not all(re.fullmatch("[0-9]+", text) for text in texts):
        raise UserError(f"expected integers of at least 0 in --seeds, got '{','.join(texts)}'", remedy="Write 0,1,2")
    return _distinct(tuple(int(text) for text in texts), "seeds", texts)


def _distinct(values: tuple, flag: str, texts: Sequence[str]) -> tuple:
    if len(set(values)) != len(values):
        raise UserError(f"expected each of --{flag} once, got '{','.join(texts)}'", remedy="Name it once")
    return values


# The flags of the experiment that a row may replace.
_REPLACEABLE = {"modality_sets": parse_modality_sets, "labelled_patients": parse_labelled, "seeds": parse_seeds}
# Former names of flags.
_FORMER = {"pairs": "modality_sets"}


def parse_rows(
    texts: Sequence[str],
    *,
    modality_sets: tuple[tuple[str, ...], ...],
    labelled: tuple[str, ...],
    seeds: tuple[int, ...],
) -> tuple[Row, ...]:
    """Parses the flags ``--row``. The flags of training in a row are not checked here.

    Args:
        texts: ``NAME: --flag=value ...`` each.
        modality_sets, labelled, seeds: of the experiment. Those of a row replace them.

    Raises:
        UserError: there is no row, a row is malformed, or two rows have the same name.
    """
    if not texts:
        raise UserError("expected a --row, got none", remedy=_EXAMPLE)
    where = {"modality_sets": modality_sets, "labelled_patients": labelled, "seeds": seeds}
    rows = tuple(_row(text, where) for text in texts)
    seen: dict[str, str] = {}
    for row in rows:
        if row.slug in seen:
            raise UserError(
                f"two rows have the same name, '{seen[row.slug]}' and '{row.name}'", remedy="Give them different names"
            )
        seen[row.slug] = row.name
    return rows


def _row(text: str, where: dict) -> Row:
    name, words = split(text, f"--row=NAME: FLAGS, got '{text}'", _EXAMPLE)
    flags, where = [], dict(where)
    for word in words:
        if not re.match(r"--\w", word):
            raise UserError(f"row '{name}': expected --flag=value, got '{word}'", remedy=_EXAMPLE)
        if (flag := word.removeprefix("--").partition("=")[0]) in _SET_BY_EXPERIMENT:
            raise UserError(f"row '{name}': --{flag} is set by the experiment", remedy="Leave it out of the row")
        position = place(name, word)
        where |= position
        flags += [] if position else [word]
    return Row(name, tuple(flags), where["modality_sets"], where["labelled_patients"], where["seeds"])


def split(text: str, expected: str, example: str) -> tuple[str, list[str]]:
    """Splits a row into its name and the words after the colon.

    Raises:
        UserError: there is no name or no colon, or a quote is not closed.
    """
    name, colon, rest = text.partition(":")
    name = " ".join(name.split())
    if not colon or not re.search("[a-z0-9]", name.lower()) or name.startswith("--"):
        raise UserError(f"expected {expected}", remedy=example)
    try:
        return name, shlex.split(rest)
    except ValueError as error:
        raise UserError(f"row '{name}': its flags cannot be read ({error})", remedy=example) from error


def place(name: str, word: str) -> dict[str, tuple]:
    """Parses a word of a row that replaces a flag of the experiment; {} for other words.

    Raises:
        UserError: the flag's value is wrong.
    """
    flag, _, value = word.removeprefix("--").partition("=")
    flag = _FORMER.get(flag, flag)
    if flag not in _REPLACEABLE or not word.startswith("--"):
        return {}
    with in_row(name):
        return {flag: _REPLACEABLE[flag](value.split(",") if value else [])}


@contextlib.contextmanager
def in_row(name: str) -> Iterator[None]:
    """Adds the row's name to errors inside the context."""
    try:
        yield
    except UserError as error:
        raise UserError(f"row '{name}': {error.problem}", path=error.path, remedy=error.remedy) from error
