"""Published networks behind TensorFlow Serving's gRPC API: a small server and a client for volumes."""
