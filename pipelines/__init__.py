"""Jobs made of the package's commands, one after another."""

_TYPES = ("DeliveryReport", "PseudoLabels")


def __getattr__(name: str):
    """The artefacts' types, by the names that a container of Kubeflow has of them; TFX is imported only then."""
    if name not in _TYPES:
        raise AttributeError(name)
    from pipelines.components import artefact_types

    return getattr(artefact_types, name)
