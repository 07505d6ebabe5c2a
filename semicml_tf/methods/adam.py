"""Adam with a fused update under TensorFlow."""

from __future__ import annotations

import keras


class Adam(keras.optimizers.Adam):
    """Keras's Adam (Kingma and Ba 2015) with the same variables and formulas, but one operation per variable.

    Keras uses about twelve operations per variable, which is thousands per step even for two small networks.
    TensorFlow has a fused kernel for plain Adam. AMSGrad and other backends use the operations of Keras.
    """

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        number = self._get_variable_index(variable)
        variable = variable.value if isinstance(variable, keras.Variable) else variable
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, variable.dtype), tf.cast(self.beta_2, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[number].value.handle,
            v=self._velocities[number].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )
