"""The folder of a training run: training writes it; evaluation, export and experiments read it."""
