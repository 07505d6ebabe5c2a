"""The pipeline's own TFX components: each a thin wrapper around a function that the commands call, too."""
