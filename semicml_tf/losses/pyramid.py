"""Agreement of one network's maps at several scales."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import check_maps
from semicml_tf.losses.supervised import pixel_cross_entropy


def bernoulli_divergence(q, p):
    """``KL(q || p)`` of Bernoulli variables, by pixel, in nats; q, p: (batch, height, width, 1), as the result."""
    check_maps(q=q, p=p)
    return pixel_cross_entropy(p, q) - pixel_cross_entropy(q, q)


def rectified_consistency(maps):
    """Mean over the scales s, with m the mean map and ``D_s = KL(m || p_s)`` by pixel, of::

        mean(exp(-D_s) (p_s - m)^2) / mean(exp(-D_s)) + mean(D_s)

    Luo et al., MICCAI 2021, arXiv 2012.07042 (URPC). Coupled over the batch: the means run over all pixels of it.

    Args:
        maps: a list of (batch, height, width, 1), one a scale, of the global batch.

    Returns:
        float32 scalar.
    """
    check_maps(**{f"maps[{number}]": value for number, value in enumerate(maps)})
    mean = sum(maps) / len(maps)
    values = []
    for p in maps:
        divergence = bernoulli_divergence(mean, p)
        weight = ops.exp(-divergence)
        values.append(ops.mean(weight * (p - mean) ** 2) / ops.mean(weight) + ops.mean(divergence))
    return sum(values) / len(values)
