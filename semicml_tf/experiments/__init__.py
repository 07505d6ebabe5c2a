"""Experiments: a grid of runs, and the tables and figures that are made of their scores."""
