"""Checks that a server implements TensorFlow Serving's API as this package's models need it."""
