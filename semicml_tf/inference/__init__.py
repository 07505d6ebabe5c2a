"""A network of slices applied to a volume on any grid: what prediction, evaluation and serving share."""
