"""Planning: spacing, window and normalisation, chosen from statistics of the whole dataset."""
