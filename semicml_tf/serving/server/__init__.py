"""A small server that speaks TensorFlow Serving's gRPC API."""
