"""Finds the run that a candidate is compared with."""

from tfx.dsl.components.common.resolver import ResolverStrategy


class LatestOtherBlessed(ResolverStrategy):
    """The latest run whose network of a modality was blessed, the candidate itself left out.

    TFX's own strategy knows no modality, and would compare a candidate that comes from the cache with itself: a run
    from cache would then evaluate everything once more, since its input is another.

    Args:
        modality: whose network.
    """

    def __init__(self, modality: str):
        self._modality = modality

    def resolve_artifacts(self, store, input_dict):
        """Answers ``model`` with that run, or with none; the other inputs as they are."""
        own = {artefact.id for artefact in input_dict["candidate"]}
        blessed = {
            one.get_int_custom_property("current_model_id")
            for one in input_dict["blessing"]
            if one.get_int_custom_property("blessed") == 1
            and one.get_string_custom_property("modality") == self._modality
        }
        found = [one for one in input_dict["model"] if one.id in blessed - own]
        return {**input_dict, "model": sorted(found, key=lambda one: one.id)[-1:]}
