"""Files, locks, JSON, the processor: what every other room uses and no room is about."""
