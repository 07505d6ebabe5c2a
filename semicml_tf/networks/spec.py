"""A network as data: `run.json` and the manifest hold the specification, and `catalogue.build` makes its network.

Imports nothing heavy, since clients of a served network read the specification, too.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

# Highest values that run.json and the manifest of an exported model may hold; a slice then has 64 MiB.
MAX_WINDOW, MAX_WIDTH = 4096, 1024
# The specification of a manifest comes from a server.
_MOST = {
    "window": MAX_WINDOW,
    "width": MAX_WIDTH,
    "levels": 16,
    "dimensions": 3,
    "input_channels": 2**10,
    "output_channels": 2**10,
}
_MOST_OPTIONS = 100


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network without its weights.

    Attributes:
        name: of the network in `catalogue.NETWORKS`.
        window: side in pixels of the square slices.
        width: channels of the first level.
        levels: number of resolutions; each one but the last halves the slices.
        dimensions: of the convolutions.
        input_channels, output_channels: of a slice, and of its map of probabilities: a channel per class.
        options: of this network, by name; the catalogue lists them.
        activation: ``sigmoid``: a channel is a region; ``softmax``: the channels are classes that exclude each other,
            and the background has what is left to 1.

    Raises:
        ValueError: a value is out of its range, or the window cannot be halved that often.
    """

    name: str = "unet"
    window: int = 64
    width: int = 16
    levels: int = 5
    dimensions: int = 2
    input_channels: int = 1
    output_channels: int = 1
    options: dict[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    def __post_init__(self):
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise ValueError(f"expected a network's {name} from 1 to {most}, got {value}")
        if self.activation not in ("sigmoid", "softmax"):
            raise ValueError(f"expected the activation sigmoid or softmax, got {ascii(self.activation)}")
        names = (self.name, *self.options)
        if len(names) > _MOST_OPTIONS or not all(name.isidentifier() and len(name) <= 64 for name in names):
            raise ValueError(
                f"expected a network and at most {_MOST_OPTIONS} options with names of letters, digits and _"
            )
        if not all(str(value).isprintable() for value in self.options.values()):
            raise ValueError("an option of the network holds control characters")
        if self.window % self.window_multiple:
            raise ValueError(f"expected a window that is a multiple of {self.window_multiple}, got {self.window}")

    @property
    def exclusive(self) -> bool:
        """Whether the classes exclude each other."""
        return self.activation == "softmax"

    @property
    def window_multiple(self) -> int:
        """The factor by which the network reduces its slices: the window is a multiple of it."""
        return 2 ** (self.levels - 1)
