"""Finds the run with which a candidate is compared."""

from tfx.dsl.components.common.resolver import ResolverStrategy


class LatestOtherBlessed(ResolverStrategy):
    """The run whose network of a modality was blessed and published last, without the candidate.

    The strategy of TFX has no modalities, and would compare a cached candidate with itself. The evaluation would then
    run again, because its input changed. Networks that were blessed, but held back by the gate of export, are ignored,
    so that they do not lower the bar for later candidates.

    Args:
        modality: of the network.
    """

    def __init__(self, modality: str):
        self._modality = modality

    def resolve_artifacts(self, store, input_dict):
        """Replaces ``model`` by this run, or by an empty list. Other inputs do not change."""
        candidates = {artefact.id for artefact in input_dict["candidate"]}
        blessed = {
            artefact.get_int_custom_property("current_model_id")
            for artefact in self._of("blessing", "blessed", input_dict)
        }
        # The last publication of each model, because an older model may have been published again.
        last_pushed = {
            artefact.get_int_custom_property("model_id"): artefact.id
            for artefact in sorted(self._of("pushed", "pushed", input_dict), key=lambda artefact: artefact.id)
        }
        eligible = (blessed & last_pushed.keys()) - candidates
        models = [model for model in input_dict["model"] if model.id in eligible]
        return {**input_dict, "model": sorted(models, key=lambda model: last_pushed[model.id])[-1:]}

    def _of(self, key: str, flag: str, input_dict):
        """The artefacts of an input with this modality whose property `flag` is 1."""
        return [
            artefact
            for artefact in input_dict[key]
            if artefact.get_int_custom_property(flag) == 1
            and artefact.get_string_custom_property("modality") == self._modality
        ]
