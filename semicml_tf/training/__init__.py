"""The training loop, its checkpoints and its run folder; it knows no method by name."""
