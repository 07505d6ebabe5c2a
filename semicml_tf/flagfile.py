"""Flagfiles: one --flag=value a line, with comments and other flagfiles."""

from __future__ import annotations

import pathlib
import re

from semicml_tf.errors import UserError


def lines(path: str, within: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The flags of a file and of the files that it names, each with the path of its file.

    absl reads flagfiles, too. It answers a missing nested file with a stack trace, a circle of files with a warning,
    and a line without ``=`` by taking the next line as its value.

    Args:
        path: of the flagfile.
        within: paths of the flagfiles that include it.

    Raises:
        UserError: a file cannot be read or includes itself, or a line is no flag.
    """
    if path in within:
        raise UserError(f"this flagfile includes itself: {' -> '.join((*within, path))}", path=path)
    try:
        text = pathlib.Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        where = f" named in {within[-1]}" if within else ""
        raise UserError(
            f"expected a flagfile{where}, but it cannot be read ({reason})", path=path or "--flagfile"
        ) from error
    flags = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith(("#", "//")):
            continue
        if not re.match(r"--\w+(=|$)", line):
            raise UserError(f"line {number}: expected one --flag=value a line, got '{line[:80]}'", path=path)
        if line.startswith("--flagfile="):
            flags += lines(line.partition("=")[2], (*within, path))
        else:
            flags.append((line, path))
    return flags
