"""A network as data: `run.json` and the manifest hold the specification, and `catalogue.build` makes its network.

Imports nothing heavy, since clients of a served network read the specification, too.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from semicml_tf.geometry.patch import Patch, Window, spatial_of

# Highest values that run.json and the manifest of an exported model may hold.
MAX_WINDOW, MAX_WIDTH = 4096, 1024
# Of one input: 64 MiB per channel in float32, and 256 MiB over all channels.
MAX_VOXELS, MAX_VALUES = MAX_WINDOW**2, 4 * MAX_WINDOW**2
# The specification of a manifest comes from a server.
_MOST = {
    "width": MAX_WIDTH,
    "levels": 16,
    "input_channels": 2**10,
    "output_channels": 2**10,
}
_MOST_OPTIONS = 100


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A network without its weights.

    Attributes:
        name: of the network in `catalogue.NETWORKS`.
        window: side in pixels of the square slices, or (slices, rows, columns) of the patches in voxels.
        width: channels of the first level.
        levels: number of resolutions.
        dimensions: of the convolutions: 2 for slices, 3 for patches.
        input_channels, output_channels: of the input, and of its map of probabilities: a channel per class.
        options: of this network, by name; the catalogue lists them.
        activation: ``sigmoid``: a channel is a region; ``softmax``: the channels are classes that exclude each other,
            and the background has what is left to 1.
        strides: for each level but the last, the step to the next level along each axis, 1 or 2. Empty: 2 everywhere.

    Raises:
        ValueError: a value is out of its range, or the window cannot be divided by the strides.
    """

    name: str = "unet"
    window: Window = 64
    width: int = 16
    levels: int = 5
    dimensions: int = 2
    input_channels: int = 1
    output_channels: int = 1
    options: dict[str, bool | int | float | str] = dataclasses.field(default_factory=dict)
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    strides: tuple[tuple[int, ...], ...] = ()

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
        self._check_window()

    def _check_window(self):
        if self.dimensions != len(self.spatial):
            raise ValueError(
                f"expected a window of {'3 numbers' if self.dimensions == 3 else '1 number'} for a network of "
                f"{self.dimensions} dimensions, got {self.window}"
            )
        if not all(1 <= size <= MAX_WINDOW for size in self.spatial):
            raise ValueError(f"expected a network's window from 1 to {MAX_WINDOW}, got {self.window}")
        voxels = math.prod(self.spatial)
        if voxels > MAX_VOXELS or voxels * self.input_channels > MAX_VALUES:
            raise ValueError(
                f"expected a network's window of at most {MAX_VOXELS} voxels and {MAX_VALUES} values, got "
                f"{voxels} voxels of {self.input_channels} channels"
            )
        if self.strides and len(self.strides) != self.levels - 1:
            raise ValueError(f"expected strides of {self.levels - 1} levels, got {len(self.strides)}")
        if not all(len(step) == self.dimensions and set(step) <= {1, 2} for step in self.strides):
            raise ValueError(f"expected strides of {self.dimensions} numbers 1 or 2 for each level")
        multiples = self.window_multiple if self.dimensions == 3 else (self.window_multiple,) * 2
        if any(size % multiple for size, multiple in zip(self.spatial, multiples)):
            raise ValueError(f"expected a window that is a multiple of {self.window_multiple}, got {self.window}")

    @property
    def exclusive(self) -> bool:
        """Whether the classes exclude each other."""
        return self.activation == "softmax"

    @property
    def spatial(self) -> tuple[int, ...]:
        """The spatial shape of one input: (rows, columns), or (slices, rows, columns)."""
        return spatial_of(self.window)

    @property
    def patch(self) -> Patch:
        """What one input covers; raises ValueError if no number of neighbouring slices makes its channels."""
        return Patch.of_channels(self.window, self.input_channels)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level: twice those of the level above, in 3-D at most ten times `width`, as in nnU-Net."""
        most = 10 if self.dimensions == 3 else 2**self.levels
        return tuple(self.width * min(2**level, most) for level in range(self.levels))

    @property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """For each level but the last, the step to the next level along each axis."""
        return self.strides or ((2,) * self.dimensions,) * (self.levels - 1)

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """For each level, the size of its convolutions along each axis: 3, or 1 before an axis is first divided.

        After nnU-Net: slices that are far apart are convolved with each other only where pixels are as large.
        """
        halved = [max(steps) == 2 for steps in zip(*self.steps)] or [False] * self.dimensions
        reached, kernels = [False] * self.dimensions, []
        for steps in self.steps:
            reached = [before or step == 2 for before, step in zip(reached, steps)]
            kernels.append(tuple(3 if now or not ever else 1 for now, ever in zip(reached, halved)))
        return (*kernels, (3,) * self.dimensions)

    @property
    def window_multiple(self) -> Window:
        """The factors by which the network reduces its inputs: `window` is a multiple of them. A number for slices."""
        factors = [math.prod(steps) for steps in zip(*self.steps)] or [1] * self.dimensions
        return max(factors) if self.dimensions == 2 else tuple(factors)

    def to_json(self) -> dict[str, Any]:
        """What `run.json` and the manifest hold. Strides are left out where they are 2 everywhere."""
        body = dataclasses.asdict(self)
        if not self.strides:
            del body["strides"]
        return body
