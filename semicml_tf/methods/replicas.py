"""Scaling of losses and gradients over several replicas, for losses that are coupled over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def replica_count() -> int:
    """The number of synchronised replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def gathered(streams: Mapping[str, Any]) -> dict[str, Any]:
    """Gathers the global batch on every replica. Gradients reach only the replica's own part.

    All replicas compute the same loss of the same global batch, and each differentiates it with respect to its own
    part. Optimisers sum the gradients of the replicas. N replicas therefore take the same step as one replica, and no
    loss needs scaling. The gradient of an all-gather would be another collective operation. Replicas trace these in
    different orders, which leads to a deadlock.

    Args:
        streams: nested tensors by stream, split over the replicas as by `training.distributed.devices.own_part`.
            Tensors of a stream have the same number of slices, and are sent together, because each exchange between
            machines has a latency.
    """
    if replica_count() == 1:
        return dict(streams)
    return {name: _gathered_stream(stream) for name, stream in streams.items()}


def _gathered_stream(stream):
    tensors = tf.nest.flatten(stream)
    if not tensors:
        return stream
    context = tf.distribute.get_replica_context()
    size = tf.shape(tensors[0])[0]
    widths = [own.shape[1:].num_elements() for own in tensors]
    carrier = tf.float64 if any(own.dtype == tf.float64 for own in tensors) else tf.float32
    rows = [tf.reshape(_carried(own, carrier), (size, width)) for own, width in zip(tensors, widths)]
    whole = tf.stop_gradient(context.all_gather(tf.concat(rows, axis=1), axis=0))
    start = tf.shape(whole)[0] * context.replica_id_in_sync_group // replica_count()

    def with_own_part(own, rows):
        gathered_rows = _uncarried(tf.reshape(rows, (-1, *own.shape[1:])), own.dtype)
        return tf.concat([gathered_rows[:start], own, gathered_rows[start + size :]], axis=0)

    parts = tf.split(whole, widths, axis=1)
    return tf.nest.pack_sequence_as(stream, [with_own_part(own, part) for own, part in zip(tensors, parts)])


def _carried(tensor, carrier):
    """Converts a tensor to the common type of a stream. 32-bit integers are bit-cast to float32."""
    return tf.bitcast(tensor, carrier) if (tensor.dtype, carrier) == _BIT_BY_BIT else tf.cast(tensor, carrier)


def _uncarried(tensor, dtype):
    """The inverse of `_carried`."""
    return tf.bitcast(tensor, dtype) if (dtype, tensor.dtype) == _BIT_BY_BIT else tf.cast(tensor, dtype)


_BIT_BY_BIT = (tf.int32, tf.float32)


def own_part(tree):
    """The inverse of `gathered`: the part of a global batch that belongs to this replica, without gradient."""
    if replica_count() == 1:
        return tree
    number = tf.distribute.get_replica_context().replica_id_in_sync_group

    def cut(whole):
        size = tf.shape(whole)[0]
        return tf.stop_gradient(whole[size * number // replica_count() : size * (number + 1) // replica_count()])

    return tf.nest.map_structure(cut, tree)


def own_share(value):
    """The share of a replica in a gradient that all replicas compute in full."""
    return value / replica_count()


def finite_everywhere(gradients):
    """The gradients, or NaN if they are not finite on any replica, so that all replicas skip the step."""
    if replica_count() == 1:
        return gradients
    not_finite = sum(tf.reduce_sum(tf.cast(~tf.math.is_finite(gradient), tf.float32)) for gradient in gradients)
    not_finite = tf.distribute.get_replica_context().all_reduce("SUM", not_finite)
    nan_or_0 = tf.where(not_finite > 0, float("nan"), 0.0)
    return [gradient + nan_or_0 for gradient in gradients]


def norm(gradients):
    """The Euclidean norm of the summed gradients; None with several workers, which would need another exchange."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    if replica_count() > 1:
        gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
    return tf.linalg.global_norm(gradients)


def move_towards(variables, goals, share) -> None:
    """``variable += share * (goal - variable)`` on every replica, inside a step.

    A replica cannot assign a mirrored variable without an aggregation. The values of all replicas are equal, so that
    each copy is updated in place.

    Args:
        variables, goals: lists of `keras.Variable` of equal length.
        share: scalar tensor.
    """

    def update(strategy, share):
        share = strategy.experimental_local_results(share)[0]
        for variable, goal in zip(variables, goals):
            strategy.extended.update(
                variable.value,
                lambda v, g: v.assign_add(tf.cast(share, v.dtype) * (g - v)),
                args=(goal.value,),
                group=False,
            )

    context = tf.distribute.get_replica_context()
    if replica_count() == 1:
        for variable, goal in zip(variables, goals):
            variable.assign_add(tf.cast(share, variable.dtype) * (goal - variable))
    else:
        context.merge_call(update, args=(share,))
