"""Sizes of a step that several benchmarks take: slices, networks, batches."""

from __future__ import annotations

from absl import flags


def define(values: flags.FlagValues, *, window: int = 64, width: int = 16, slices: int = 16) -> None:
    """Defines ``--window``, ``--width``, ``--labelled`` and ``--unlabelled`` with these defaults."""
    flags.DEFINE_integer("window", window, "Side of the slices; a multiple of 16.", lower_bound=16, flag_values=values)
    flags.DEFINE_integer("width", width, "Channels of the networks' first level.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("labelled", slices, "Labelled slices a step.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("unlabelled", slices, "Unlabelled slices a step.", lower_bound=2, flag_values=values)


def words(values: flags.FlagValues) -> list[str]:
    """The sizes as a competitor takes them."""
    return [str(getattr(values, name)) for name in ("window", "width", "labelled", "unlabelled")]
