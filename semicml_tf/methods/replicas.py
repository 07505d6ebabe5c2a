"""Losses coupled over the batch, on several replicas: the one place that knows how they are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def replica_count() -> int:
    """Replicas that take this step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def gathered(streams: Mapping[str, Any]) -> dict[str, Any]:
    """The global batch on every replica, from each one's own part; gradients reach the own part alone.

    Every replica then computes the same loss of the same global batch and differentiates it by its own
    part. Optimisers add up the replicas' gradients: N replicas take the step that one takes on the same
    global batch, and a loss is scaled nowhere. (The all-gather's own gradient would be a collective, too;
    replicas trace those in no fixed order and then wait for each other's tensors.)

    Args:
        streams: nested tensors by stream, dealt to the replicas as `training.distributed.devices.own_part` deals
            them. Tensors of one stream have one number of slices and are sent together: between machines, each
            exchange has a cost of its own, whatever it carries.
    """
    if replica_count() == 1:
        return dict(streams)
    return {name: _gathered_stream(stream) for name, stream in streams.items()}


def _gathered_stream(stream):
    owns = tf.nest.flatten(stream)
    if not owns:
        return stream
    context = tf.distribute.get_replica_context()
    size = tf.shape(owns[0])[0]
    widths = [own.shape[1:].num_elements() for own in owns]
    carrier = tf.float64 if any(own.dtype == tf.float64 for own in owns) else tf.float32
    rows = [tf.reshape(_carried(own, carrier), (size, width)) for own, width in zip(owns, widths)]
    whole = tf.stop_gradient(context.all_gather(tf.concat(rows, axis=1), axis=0))
    start = tf.shape(whole)[0] * context.replica_id_in_sync_group // replica_count()

    def put_together(own, rows):
        found = _uncarried(tf.reshape(rows, (-1, *own.shape[1:])), own.dtype)
        return tf.concat([found[:start], own, found[start + size :]], axis=0)

    parts = tf.split(whole, widths, axis=1)
    return tf.nest.pack_sequence_as(stream, [put_together(own, part) for own, part in zip(owns, parts)])


def _carried(tensor, carrier):
    """In the one type that all tensors of a stream travel in. Whole numbers of 32 bits travel in float32 bit by bit."""
    return tf.bitcast(tensor, carrier) if (tensor.dtype, carrier) == _BIT_BY_BIT else tf.cast(tensor, carrier)


def _uncarried(tensor, dtype):
    """The inverse of `_carried`."""
    return tf.bitcast(tensor, dtype) if (dtype, tensor.dtype) == _BIT_BY_BIT else tf.cast(tensor, dtype)


_BIT_BY_BIT = (tf.int32, tf.float32)


def own_part(tree):
    """The inverse of `gathered`: what of a global batch was dealt to this replica; without gradient."""
    if replica_count() == 1:
        return tree
    number = tf.distribute.get_replica_context().replica_id_in_sync_group

    def cut(whole):
        size = tf.shape(whole)[0]
        return tf.stop_gradient(whole[size * number // replica_count() : size * (number + 1) // replica_count()])

    return tf.nest.map_structure(cut, tree)


def own_share(value):
    """One replica's share of a gradient that all of them compute, not only of their own part."""
    return value / replica_count()


def finite_everywhere(gradients):
    """The gradients, or no numbers at all where another replica's are none: all leave the step out, or none does."""
    if replica_count() == 1:
        return gradients
    bad = sum(tf.reduce_sum(tf.cast(~tf.math.is_finite(gradient), tf.float32)) for gradient in gradients)
    bad = tf.distribute.get_replica_context().all_reduce("SUM", bad)
    spoilt = tf.where(bad > 0, float("nan"), 0.0)
    return [gradient + spoilt for gradient in gradients]


def norm(gradients):
    """The Euclidean norm of the replicas' gradients added up; None where that would cost workers a second exchange."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return None
    if replica_count() > 1:
        gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
    return tf.linalg.global_norm(gradients)


def move_towards(variables, goals, share) -> None:
    """``variable += share * (goal - variable)`` on every replica, inside a step.

    A mirrored variable cannot be assigned from within a replica unless it says how the replicas'
    values combine; here they are equal, so each replica's copy is updated in place.

    Args:
        variables, goals: lists of `keras.Variable`, pair by pair.
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
