"""Pseudonyms for patients, and messages that hold no names."""
