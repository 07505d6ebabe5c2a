"""What a person sees of a training: the progress line, the run log, curves and pictures."""
