"""Finds the run that a candidate is compared with."""

from tfx.dsl.components.common.resolver import ResolverStrategy


class LatestOtherBlessed(ResolverStrategy):
    """The latest run whose network of a modality was blessed and published, the candidate itself left out.

    TFX's own strategy knows no modality, and would compare a candidate that comes from the cache with itself: a run
    from cache would then evaluate everything once more, since its input is another. What was blessed and then held
    back by export's gate is left out, too: it must not lower the bar for those that follow.

    Args:
        modality: whose network.
    """

    def __init__(self, modality: str):
        self._modality = modality

    def resolve_artifacts(self, store, input_dict):
        """Answers ``model`` with that run, or with none; the other inputs as they are."""
        own = {artefact.id for artefact in input_dict["candidate"]}
        blessed = {
            one.get_int_custom_property("current_model_id") for one in self._of("blessing", "blessed", input_dict)
        }
        published = {one.get_string_custom_property("run_hash") for one in self._of("pushed", "pushed", input_dict)}
        found = [
            one
            for one in input_dict["model"]
            if one.id in blessed - own and one.get_string_custom_property("run_hash") in published
        ]
        return {**input_dict, "model": sorted(found, key=lambda one: one.id)[-1:]}

    def _of(self, key: str, said: str, input_dict):
        """The artefacts of an input that are of this modality and say yes."""
        return [
            one
            for one in input_dict[key]
            if one.get_int_custom_property(said) == 1 and one.get_string_custom_property("modality") == self._modality
        ]
