"""Client of TensorFlow Serving's PredictionService: volumes in, masks on the volume's own grid out."""
