"""Batch normalisation in few passes over the features, and few exchanges between replicas."""

from __future__ import annotations

import keras

from semicml_tf.networks.precision import full_precision


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, its variables and its mathematics, in fewer operations where TensorFlow computes.

    Keras computes mean, variance and result one after another, each a pass over the features. TensorFlow's fused
    kernel makes one pass forward and one back. It knows one device's batch only: where statistics are synchronised
    over replicas, these exchange all sums of a layer at once, forward and back, where Keras exchanges each by itself.
    At inference there is nothing to gain.
    """

    def call(self, inputs, training=None, mask=None):
        known = keras.backend.backend() == "tensorflow" and len(inputs.shape) in (4, 5) and mask is None
        full = full_precision(inputs.dtype)
        # The fused kernel has no float64.
        known = known and (self.synchronized or full == "float32")
        if not (training and self.trainable and known) or self.axis not in (-1, len(inputs.shape) - 1):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        # float32 also for features in half precision, as are the statistics.
        gamma, beta = tf.cast(self.gamma, full), tf.cast(self.beta, full)
        normalise = _synchronised if self.synchronized else _fused
        # The kernel reads features of two dimensions: each slice of a patch becomes a sample.
        flat = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, (-1, *inputs.shape[2:]))
        outputs, mean, variance = normalise(flat, gamma, beta, self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.cast(batch, moving.dtype) * (1.0 - self.momentum))
        return outputs if flat is inputs else tf.reshape(outputs, (-1, *inputs.shape[1:]))


def _fused(inputs, gamma, beta, epsilon: float):
    """Features normalised by this device's batch, its mean, and its biased variance."""
    import tensorflow as tf

    outputs, mean, variance = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
    )[:3]
    # The kernel returns the unbiased variance; Keras, and the replicas' synchronised one, keep the biased.
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
    return outputs, mean, variance * (count - 1.0) / count


def _synchronised(inputs, gamma, beta, epsilon: float):
    """As `_fused`, by the batches of all replicas together.

    Gradients: with ``x' = (x - mean) / sd`` over all replicas' n values of a channel,
    ``dx = gamma / sd * (dy - sum(dy) / n - x' * sum(dy * x') / n)`` (Ioffe and Szegedy 2015); those of gamma and
    beta are of the own part, since optimisers add up replicas.
    """
    import tensorflow as tf

    def exchanged(*sums):
        context = tf.distribute.get_replica_context()
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(sums, axis=0))
        return tf.split(whole, [part.shape[0] for part in sums])

    @tf.custom_gradient
    def normalised(x, gamma, beta):
        wide = tf.cast(x, gamma.dtype)
        own = tf.cast(tf.size(x) // x.shape[-1], gamma.dtype)
        total, squares, count = exchanged(_sums(wide), _sums(tf.square(wide)), own[None])
        mean = total / count
        variance = tf.maximum(squares / count - tf.square(mean), 0.0)
        rate = tf.math.rsqrt(variance + epsilon)

        def gradients(dy, *_):  # statistics are kept, not differentiated
            dy = tf.cast(dy, gamma.dtype)
            unit = (wide - mean) * rate
            own_beta, own_gamma = _sums(dy), _sums(dy * unit)
            all_beta, all_gamma = exchanged(own_beta, own_gamma)
            dx = gamma * rate * (dy - all_beta / count - unit * (all_gamma / count))
            return tf.cast(dx, x.dtype), own_gamma, own_beta

        outputs = (wide - mean) * (rate * gamma) + beta
        return (tf.cast(outputs, x.dtype), mean, variance), gradients

    return normalised(inputs, gamma, beta)


def _sums(features):
    """Of each channel, (channels,)."""
    import tensorflow as tf

    return tf.reduce_sum(features, axis=(0, 1, 2))
