"""The TFX components of the pipeline, thin wrappers around functions that the commands also call."""
