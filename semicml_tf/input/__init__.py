"""tf.data input: which slices a step sees, cut and augmented. The order is a pure function of (seed, step)."""
