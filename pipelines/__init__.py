"""Jobs that run several commands of the package."""

_TYPES = ("DeliveryReport", "PseudoLabels")


def __getattr__(name: str):
    """Artefact types by the names that containers of Kubeflow use. TFX is imported on first use."""
    if name not in _TYPES:
        raise AttributeError(name)
    from pipelines.components import artefact_types

    return getattr(artefact_types, name)
