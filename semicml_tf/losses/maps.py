"""The check of shapes that every loss begins with."""

from __future__ import annotations


def check_maps(**maps) -> None:
    """Checks that all maps have one shape (batch, height, width, 1).

    Broadcasting would otherwise give a number for a map of three channels against a label of one. The check reads
    static shapes alone: a compiled step holds nothing of it, and symbolic tensors are checked, too.

    Args:
        maps: by name, for the message; arrays or tensors of any backend. A size that is not known fits any other.

    Raises:
        ValueError: a map has another rank or several channels, or two maps differ.
    """
    shapes = {name: tuple(value.shape) for name, value in maps.items()}
    fit = all(len(shape) == 4 and shape[3] == 1 for shape in shapes.values())
    if not fit or any(len(set(sizes) - {None}) > 1 for sizes in zip(*shapes.values())):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected maps of one shape (batch, height, width, 1), got {listed}")
