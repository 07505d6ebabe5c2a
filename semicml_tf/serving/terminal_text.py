"""Text of others, made fit for a terminal, a log and a gRPC header."""

from __future__ import annotations


def one_line(text: str, most: int = 300) -> str:
    """`text` as printable ASCII on one line of at most `most` characters; what is neither is written as ``\\x1b``."""
    # Cut before and after: a text of megabytes is not to be escaped as a whole.
    line = " ".join(text[:most].split())
    shown = "".join(character if " " <= character <= "~" else ascii(character)[1:-1] for character in line)
    return shown if len(shown) <= most and len(text) <= most else shown[: most - 3] + "..."
