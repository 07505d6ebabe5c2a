"""Finds the run that a candidate is compared with."""

from tfx.dsl.components.common.resolver import ResolverStrategy


class LatestOtherBlessed(ResolverStrategy):
    """The run whose network of a modality was blessed and published last, the candidate itself left out.

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
        # When: one that is older than others may have been published again since.
        last = {
            one.get_int_custom_property("model_id"): one.id
            for one in sorted(self._of("pushed", "pushed", input_dict), key=lambda one: one.id)
        }
        found = [one for one in input_dict["model"] if one.id in (blessed & last.keys()) - own]
        return {**input_dict, "model": sorted(found, key=lambda one: last[one.id])[-1:]}

    def _of(self, key: str, said: str, input_dict):
        """The artefacts of an input that are of this modality and say yes."""
        return [
            one
            for one in input_dict[key]
            if one.get_int_custom_property(said) == 1 and one.get_string_custom_property("modality") == self._modality
        ]
