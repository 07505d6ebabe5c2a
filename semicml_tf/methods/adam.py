"""Adam that updates a variable in one operation where the engine has one."""

from __future__ import annotations

import keras


class Adam(keras.optimizers.Adam):
    """Keras's optimiser, its variables and its mathematics (Kingma and Ba 2015), in fewer operations.

    Keras writes the update as a dozen operations a variable; a step of two small networks then starts thousands of
    them. TensorFlow has one kernel for all. Only plain Adam is its: with AMSGrad, and under other backends, Keras's
    own operations run.
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
