"""Operations on maps that losses share: shape checks, single classes, and the background.

Maps have the shape (batch, *space, classes). The space is (height, width) for slices, and (depth, height, width) for
patches.
"""

from __future__ import annotations

from keras import ops


def check_maps(**maps) -> None:
    """Checks that all maps have one shape (batch, *space, classes).

    Otherwise, a map of three classes would be broadcast against a label of one class. Only static shapes are checked,
    so that the check works on symbolic tensors and costs nothing in a compiled step.

    Args:
        maps: arrays or tensors of any backend, by name for the message. An unknown size matches any size.

    Raises:
        ValueError: a map has another rank, or two maps differ.
    """
    shapes = {name: tuple(value.shape) for name, value in maps.items()}
    fit = set(map(len, shapes.values())) in ({4}, {5})
    if not fit or any(len(set(sizes) - {None}) > 1 for sizes in zip(*shapes.values())):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected maps of one shape (batch, *space, classes), got {listed}")


def inner_axes(maps) -> tuple[int, ...]:
    """All axes of maps except the batch axis."""
    return tuple(range(1, len(maps.shape)))


def spread(values, maps):
    """Reshapes values (batch,) to (batch, 1, ...) with the rank and dtype of the maps."""
    return ops.cast(ops.reshape(values, (-1, *(1,) * (len(maps.shape) - 1))), maps.dtype)


def by_class(maps) -> list:
    """Splits maps (batch, *space, classes) into classes, each (batch, *space, 1)."""
    count = maps.shape[-1]
    return [maps] if count == 1 else [maps[..., number : number + 1] for number in range(count)]


def background(maps):
    """Probability of the background beside exclusive classes: (batch, *space, 1)."""
    return 1.0 - ops.sum(maps, axis=-1, keepdims=True)


def one_hot_of_largest(maps):
    """1.0 for the most probable class, else 0.0; all 0.0 for background. Of equal ones, the first counts."""
    whole = ops.concatenate([background(maps), maps], axis=-1)
    return ops.one_hot(ops.argmax(whole, axis=-1), whole.shape[-1], dtype=maps.dtype)[..., 1:]


def masked_mean(values, valid):
    """Mean of ``values`` (batch, *space, channels) over the pixels where ``valid`` is 1; 0 without such pixels.

    Args:
        values: (batch, *space, channels).
        valid: (batch, *space, 1), 0 or 1, or weights in [0, 1].
    """
    check_maps(values=values[..., :1], valid=valid)
    valid = ops.cast(valid, values.dtype)
    return ops.sum(values * valid) / (ops.maximum(ops.sum(valid), 1.0) * values.shape[-1])
