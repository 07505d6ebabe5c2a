"""Losses coupled over the batch, on several replicas: the one place that knows how they are scaled."""

from __future__ import annotations

import tensorflow as tf


def replica_count() -> int:
    """Replicas that take this step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def gathered(tree):
    """The global batch on every replica, from each one's own part; gradients flow back.

    Every replica then computes the same loss of the same global batch. The gradient of an all-gather
    sums over replicas and so do the optimisers, so a replica's loss is `own_share` of it: N replicas
    take the step that one takes on the same global batch.
    """
    if replica_count() == 1:
        return tree
    context = tf.distribute.get_replica_context()
    return tf.nest.map_structure(lambda x: context.all_gather(x, axis=0), tree)


def own_share(loss):
    """One replica's share of a loss that all of them computed on the gathered batch."""
    return loss / replica_count()


def move_towards(variables, goals, share) -> None:
    """``variable += share * (goal - variable)`` on every replica, inside a step.

    A mirrored variable cannot be assigned from within a replica unless it says how the replicas'
    values combine; here they are equal, so each replica's copy is updated in place.

    Args:
        variables, goals: lists of `keras.Variable`, pair by pair.
        share: float32 scalar tensor.
    """

    def update(strategy, share):
        share = strategy.experimental_local_results(share)[0]
        for variable, goal in zip(variables, goals):
            strategy.extended.update(
                variable.value, lambda v, g: v.assign_add(share * (g - v)), args=(goal.value,), group=False
            )

    context = tf.distribute.get_replica_context()
    if replica_count() == 1:
        for variable, goal in zip(variables, goals):
            variable.assign_add(share * (goal - variable))
    else:
        context.merge_call(update, args=(share,))
