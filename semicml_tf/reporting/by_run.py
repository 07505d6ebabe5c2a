"""What a section tells of each run, so that a page of many runs can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semicml_tf.reporting.markup import Html, element, join

# Up to so many are told one after the other; more are folded.
_UNFOLDED = 3


def parts(held: Sequence[tuple[str, Any]]) -> Html:
    """Each run's part under its heading; that of a run alone without one.

    Args:
        held: heading and body by run.
    """
    if len(held) == 1:
        return join(held[0][1])
    if len(held) <= _UNFOLDED:
        return join([join(element("h3", heading), body) for heading, body in held])
    return join([element("details", element("summary", heading), body, class_="printed") for heading, body in held])
