"""What every loss needs of maps: the check of their shapes, their classes one by one, and the background.

Maps are (batch, *space, classes). The space is (height, width) of slices, or (depth, height, width) of patches.
"""

from __future__ import annotations

from keras import ops


def check_maps(**maps) -> None:
    """Checks that all maps have one shape (batch, *space, classes).

    Broadcasting would otherwise give a number for a map of three classes against a label of one. The check reads
    static shapes alone: a compiled step holds nothing of it, and symbolic tensors are checked, too.

    Args:
        maps: by name, for the message; arrays or tensors of any backend. A size that is not known fits any other.

    Raises:
        ValueError: a map has another rank, or two maps differ.
    """
    shapes = {name: tuple(value.shape) for name, value in maps.items()}
    fit = set(map(len, shapes.values())) in ({4}, {5})
    if not fit or any(len(set(sizes) - {None}) > 1 for sizes in zip(*shapes.values())):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected maps of one shape (batch, *space, classes), got {listed}")


def inner_axes(maps) -> tuple[int, ...]:
    """All axes of maps but that of the batch."""
    return tuple(range(1, len(maps.shape)))


def spread(values, maps):
    """Values (batch,) as (batch, 1, ...) with as many axes as the maps, and their dtype."""
    return ops.cast(ops.reshape(values, (-1, *(1,) * (len(maps.shape) - 1))), maps.dtype)


def by_class(maps) -> list:
    """The classes of maps (batch, *space, classes), each (batch, *space, 1)."""
    count = maps.shape[-1]
    return [maps] if count == 1 else [maps[..., number : number + 1] for number in range(count)]


def background(maps):
    """What exclusive classes leave to 1: (batch, *space, 1)."""
    return 1.0 - ops.sum(maps, axis=-1, keepdims=True)


def one_hot_of_largest(maps):
    """1.0 where a class is larger than the background and all classes before it, else 0.0; same shape and type."""
    whole = ops.concatenate([background(maps), maps], axis=-1)
    return ops.one_hot(ops.argmax(whole, axis=-1), whole.shape[-1], dtype=maps.dtype)[..., 1:]


def masked_mean(values, valid):
    """Mean of ``values`` (batch, *space, channels) over the pixels where ``valid`` is 1; 0 if there is none.

    Args:
        valid: (batch, *space, 1), 0 or 1, or weights in [0, 1].
    """
    check_maps(values=values[..., :1], valid=valid)
    valid = ops.cast(valid, values.dtype)
    return ops.sum(values * valid) / (ops.maximum(ops.sum(valid), 1.0) * values.shape[-1])
