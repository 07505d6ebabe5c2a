"""Networks, by `keras.layers` and `keras.ops` alone."""
