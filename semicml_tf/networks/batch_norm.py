"""Batch normalisation that trains in one fused operation where the engine has one."""

from __future__ import annotations

import keras


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, its variables and its mathematics, in fewer passes over the features.

    Keras computes mean, variance and result one after another, each a pass over the features. TensorFlow's fused
    kernel makes one pass forward and one back. It knows one device's batch only, so it is not used where statistics
    are synchronised over replicas, nor under other backends, nor at inference, where there is nothing to gain.
    """

    def call(self, inputs, training=None, mask=None):
        fused = keras.backend.backend() == "tensorflow" and len(inputs.shape) == 4 and mask is None
        if not (training and self.trainable and fused) or self.synchronized or self.axis not in (-1, 3):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            # float32 whatever the precision of the features, as are the statistics.
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )[:3]
        # The kernel returns the unbiased variance; Keras, and the replicas' synchronised one, keep the biased.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
        variance *= (count - 1.0) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.cast(batch, moving.dtype) * (1.0 - self.momentum))
        return outputs
