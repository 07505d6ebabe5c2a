"""Reads untrusted JSON: checks its size, its syntax and the types of its fields. Errors have one line.

A schema is a dataclass or a `typing_extensions.TypedDict`. Its annotations are the types of the fields::

    @dataclasses.dataclass(frozen=True)
    class Listing:
        version: Literal[1]
        cases: dict[str, tuple[Positive, ...]]
        note: str = ""                        # optional

    listing = json_files.read(path, Listing, what="a listing", remedy="Convert the data again")

Types are strict: `int` accepts neither 1.0 nor "1" nor true; `float` accepts every number. Fields that are not in the
schema are not checked. With a dataclass, the result is an instance, whose `__post_init__` may raise ValueError for
further checks. With a TypedDict, the result is the dictionary of the file with all of its fields.
"""

from __future__ import annotations

import functools
import json
import math
import os
from typing import Annotated, Any, NoReturn, TypeVar

from annotated_types import Interval
from typing_extensions import is_typeddict

from semicml_tf.errors import UserError

# Larger files are refused before they are read. A parsed file needs up to thirty times its size in memory.
MAX_BYTES = 16 * 2**20
# For files with many numbers per case.
MAX_BYTES_OF_CASES = 64 * 2**20

# Types for schemas. JSON numbers can have any length; 2**53 is the limit of exact whole numbers in a float64.
Count = Annotated[int, Interval(ge=0, le=2**53)]
Positive = Annotated[int, Interval(ge=1, le=2**53)]
Share = Annotated[float, Interval(ge=0, le=1)]

T = TypeVar("T")


def read(
    path: str | os.PathLike, schema: type[T], *, what: str, remedy: str | None = None, max_bytes: int = MAX_BYTES
) -> T:
    """Reads a file.

    Args:
        path: the file.
        schema: types of the fields; see above.
        what: the file's role, for messages, e.g. ``"a converted dataset"``.
        remedy: what the user can do if the file is missing or wrong.
        max_bytes: larger files are refused.

    Raises:
        UserError: the file cannot be read, is no JSON, or does not fit `schema`.
    """
    return parse(_bytes(path, what, remedy, max_bytes), schema, what=what, path=path, remedy=remedy)


def parse(
    text: str | bytes,
    schema: type[T],
    *,
    what: str,
    path: str | os.PathLike | None = None,
    remedy: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> T:
    """Reads JSON text; see `read`.

    Args:
        path: source of the text, for messages.
    """
    body = loads(text, what=what, path=path, remedy=remedy, max_bytes=max_bytes)
    return of_value(body, schema, what=what, path=path, remedy=remedy)


def of_value(
    body: Any, schema: type[T], *, what: str, path: str | os.PathLike | None = None, remedy: str | None = None
) -> T:
    """Checks a value that `loads` returned; see `read`."""
    from pydantic_core import ValidationError

    try:
        value = _validator(schema).validate_python(body)
        return body if is_typeddict(schema) else value
    except ValidationError as error:
        raise UserError(f"expected {what}, but {_problem(error)}", path=path, remedy=remedy) from error
    except UserError as error:
        if error.path is not None:
            raise
        raise UserError(error.problem, path=path, remedy=error.remedy or remedy) from error


def loads(
    text: str | bytes,
    *,
    what: str,
    path: str | os.PathLike | None = None,
    remedy: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """The value of JSON text, without a schema.

    Raises:
        UserError: the text is no JSON, has more than `max_bytes`, a number that is not finite, or a repeated name.
    """
    if len(text) > max_bytes:
        raise _too_large(len(text), what, path, remedy, max_bytes)
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        problem = f"expected {what}, but it is not valid JSON (lists or objects are nested too deeply)"
        raise UserError(problem, path=path, remedy=remedy) from error
    except ValueError as error:
        raise UserError(f"expected {what}, but it is not valid JSON ({error})", path=path, remedy=remedy) from error


def load(path: str | os.PathLike, *, what: str, remedy: str | None = None, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON file, without a schema; see `loads`."""
    return loads(_bytes(path, what, remedy, max_bytes), what=what, path=path, remedy=remedy)


def _bytes(path: str | os.PathLike, what: str, remedy: str | None, max_bytes: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            content = b"" if size > max_bytes else stream.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: the name holds a null character
        reason = getattr(error, "strerror", None) or error
        problem = f"expected {what}, but it cannot be read ({reason})"
        raise UserError(problem, path=path, remedy=remedy) from error
    if size > max_bytes or len(content) > max_bytes:
        raise _too_large(max(size, len(content)), what, path, remedy, max_bytes)
    return content


def _too_large(size: int, what: str, path, remedy: str | None, max_bytes: int) -> UserError:
    return UserError(f"expected {what} of at most {max_bytes} bytes, got {size}", path=path, remedy=remedy)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {_shown(next(name for name in names if names.count(name) > 1))} comes twice")
    return body


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


@functools.cache
def _validator(schema: type):
    # Imported here, because these imports take 0.2 s that `--help` does not need.
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    return SchemaValidator(_strict(TypeAdapter(schema).core_schema))


def _strict(node: Any) -> Any:
    """The core schema with strict types. Tuples still accept lists.

    The check of a list stops at its first wrong element, because errors for all elements can take a gigabyte.
    """
    if isinstance(node, list):
        return [_strict(value) for value in node]
    if not isinstance(node, dict):
        return node
    changed, kind = {name: _strict(value) for name, value in node.items()}, node.get("type")
    if kind in ("int", "float", "str", "bool", "list", "dict"):
        changed["strict"] = True
    if kind in ("list", "tuple"):
        changed["fail_fast"] = True
    return changed


# Replaces pydantic's messages, which use Python's names of types.
_EXPECTED = dict.fromkeys(("dict_type", "dataclass_type"), "expected an object")
_EXPECTED |= dict.fromkeys(("list_type", "tuple_type"), "expected a list")


def _problem(error) -> str:
    """A message with the first of pydantic's errors and the number of the others."""
    count = error.error_count()
    if count > 1000:
        return f"{count} of its fields are wrong"
    first = error.errors(include_url=False)[0]
    place, message = _place(first["loc"]), str(first["msg"])
    if first["type"] == "missing":
        text = f"the field {place} is missing"
    else:
        message = message.removeprefix("Value error, ").replace("Input should be", "expected", 1)
        message = _EXPECTED.get(first["type"], message)
        text = f"{place or 'its content'}: {message}"
        # Messages about sizes already contain the size that was received.
        text += f", got {_shown(first['input'])}" if str(first["msg"]).startswith("Input should be") else ""
    # If the version is wrong, other fields may differ.
    if count == 1 or place.endswith("version"):
        return text
    return f"{text} ({count - 1} more {'field is' if count == 2 else 'fields are'} wrong)"


def _place(path: tuple[str | int, ...]) -> str:
    """``cases[0].shape`` for ``("cases", 0, "shape")``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step if step.isprintable() else _shown(step)}"
    return text.removeprefix(".")


def _shown(value: Any, length: int = 60) -> str:
    """A value for one line of a terminal: ASCII, truncated to `length` characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= length else f"{text[:length]}..."
