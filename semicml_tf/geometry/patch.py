"""The part of a volume that one input of a network covers: the one definition for training, inference and serving."""

from __future__ import annotations

import dataclasses

# Neighbours on each side of a slice: more would make an input of more than 33 channels.
MAX_CONTEXT_SLICES = 16

# Size of one input: the side of a square slice in pixels, or (slices, rows, columns) of a patch in voxels.
Window = int | tuple[int, int, int]


def spatial_of(window: Window) -> tuple[int, ...]:
    """The spatial shape of one input: (rows, columns) of a slice, or (slices, rows, columns) of a patch."""
    return (window, window) if isinstance(window, int) else tuple(window)


@dataclasses.dataclass(frozen=True)
class Patch:
    """One input of a network.

    Attributes:
        window: side in pixels of the square slices, or (slices, rows, columns) of the patches in voxels.
        context_slices: of slices, the number of neighbours on each side. Each neighbour is a channel of the input, in
            the order of the volume; the slice itself is the channel in the middle.

    Raises:
        ValueError: `context_slices` is out of its range, or belongs to a patch of three dimensions.
    """

    window: Window
    context_slices: int = 0

    def __post_init__(self):
        if not 0 <= self.context_slices <= MAX_CONTEXT_SLICES:
            raise ValueError(f"expected context_slices from 0 to {MAX_CONTEXT_SLICES}, got {self.context_slices}")
        if self.context_slices and len(self.spatial) == 3:
            raise ValueError("expected no context_slices for patches: a patch has its neighbours")

    @classmethod
    def of_channels(cls, window: Window, channels: int) -> Patch:
        """The patch of an input of so many channels; raises ValueError where no number of neighbours makes them."""
        if channels % 2 == 0:
            raise ValueError(f"expected an odd number of input channels, one for each slice, got {channels}")
        return cls(window, channels // 2)

    @property
    def spatial(self) -> tuple[int, ...]:
        """(rows, columns), or (slices, rows, columns)."""
        return spatial_of(self.window)

    @property
    def channels(self) -> int:
        """Channels of one input."""
        return 2 * self.context_slices + 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: `spatial`, then the channels."""
        return (*self.spatial, self.channels)


def mirrored(places, count):
    """Numbers of slices from any whole numbers: beyond the ends of a volume its mirror image continues.

    The first and the last slice occur twice, as `numpy.pad` does with ``symmetric``; one slice is its own neighbour.

    Args:
        places: whole numbers, an array or a tensor.
        count: of the volume's slices.

    Returns:
        Numbers from 0 to `count` - 1, of the type of `places`.
    """
    last = 2 * count - 1
    # The smaller one of p and last - p.
    return (last - abs(2 * (places % (2 * count)) - last)) // 2
