"""Several models of one modality as one: the mean of their probabilities on the volume's own grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.inference.volume import Segmenter
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.plausibility import Problem


class Ensemble(Segmenter):
    """A segmenter made of others, each of which resamples and normalises as it was trained.

    A voxel is foreground where the mean of the probabilities reaches the mean of the members' thresholds.

    Args:
        members: at least one.
        postprocessing: of the mask; None takes the members' own, on which they must agree.

    Raises:
        UserError: they are of several modalities, or differ in their post-processing and none is given.
    """

    def __init__(self, members: Sequence[Segmenter], *, postprocessing: Postprocessing | None = None):
        manifests = [member.manifest for member in members]
        modalities = sorted({manifest.modality for manifest in manifests})
        if len(modalities) > 1:
            raise UserError(
                f"expected models of one modality, got {', '.join(modalities)}",
                remedy="Name several modalities' models: --model=ct=FOLDER,pet=FOLDER",
            )
        if postprocessing is None:
            own = sorted({str(manifest.postprocessing) for manifest in manifests})
            if len(own) > 1:
                raise UserError(
                    f"the models' post-processing differs: {' and '.join(own)}", remedy="Choose one: --postprocess=none"
                )
            postprocessing = manifests[0].postprocessing
        threshold = manifests[0].threshold
        if len(manifests) > 1:
            threshold = float(np.mean([manifest.threshold for manifest in manifests]))
        super().__init__(dataclasses.replace(manifests[0], threshold=threshold, postprocessing=postprocessing))
        self._members = tuple(members)

    def origins(self) -> list[dict]:
        return [origin for member in self._members for origin in member.origins()]

    def prepare(self, array: np.ndarray, affine: np.ndarray) -> list:
        return [member.prepare(array, affine) for member in self._members]

    def warnings(self, prepared: list) -> tuple[Problem, ...]:
        """The warnings of all members, each once."""
        pairs = zip(self._members, prepared)
        return tuple(dict.fromkeys(problem for member, of_member in pairs for problem in member.warnings(of_member)))

    def draws(self, prepared: list, *, batch_size: int) -> Iterator[np.ndarray]:
        """All members' draws: each counts as much as any other."""
        for member, of_member in zip(self._members, prepared):
            yield from member.draws(of_member, batch_size=batch_size)
