"""A published network: SavedModel, manifest and model card of one modality."""
