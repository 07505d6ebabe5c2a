"""Several networks of one modality as one model: the mean of their probabilities, and what follows for the manifest."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import operator
from collections.abc import Sequence

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.postprocessing.steps import Postprocessing


class MeanNetwork:
    """Called as each of its networks is; answers the mean of their probabilities, also of exclusive classes.

    Args:
        networks: at least one `keras.Model`; all have the same inputs and the same shape of the output.
    """

    def __init__(self, networks: Sequence):
        self.networks = tuple(networks)
        self.spec = getattr(self.networks[0], "spec", None)

    def __call__(self, inputs, training: bool = False):
        answers = [network(inputs, training=training) for network in self.networks]
        # A division: a factor of 1 / n could carry a mean of ones above 1.
        return functools.reduce(operator.add, answers) / len(answers)


def mean_manifest(manifests: Sequence[Manifest]) -> Manifest:
    """The manifest of the mean of networks that read the same images and have the same classes.

    | entry | of the mean |
    |---|---|
    | thresholds | mean of the members' thresholds, by region |
    | post-processing | by class, the steps that more than half of the members chose; see `majority` |
    | validation DSC and scores | mean of the members' means, each of its own validation patients |
    | hashes | the members' own if they are equal, else the SHA-256 of them in sorted order |
    | accepted codes of implausible images | those that all members accept |

    Args:
        manifests: of the members, at least one. A single manifest is returned as it is.
    """
    first = manifests[0]
    if len(manifests) == 1:
        return first
    dice = [one.validation_dice for one in manifests]
    accepted = set.intersection(*(set(one.limits.accepted) for one in manifests))
    return dataclasses.replace(
        first,
        thresholds={name: _mean([one.thresholds[name] for one in manifests]) for name in first.thresholds},
        postprocessing={name: majority([one.steps[name] for one in manifests]) for name in first.labels.names},
        validation_dice=None if None in dice else _mean(dice),
        validation_scores={
            name: _mean([one.validation_scores[name] for one in manifests])
            for name in first.validation_scores
            if all(name in one.validation_scores for one in manifests)
        },
        plausibility=dataclasses.replace(first.limits, accepted=tuple(sorted(accepted))),
        members=len(manifests),
        **{
            name: combined_hash([getattr(one, name) for one in manifests])
            for name in ("data_hash", "run_hash", "weights_hash")
        },
    )


def majority(choices: Sequence[Postprocessing]) -> Postprocessing:
    """The steps that more than half of the choices have.

    Of ``min_ml``, the largest volume that more than half of the choices reach; a choice without the step has 0.
    """
    # Of n values in ascending order, more than half are at least the value of this place.
    place = (len(choices) - 1) // 2
    fields = [field.name for field in dataclasses.fields(Postprocessing)]
    return Postprocessing(**{name: sorted(getattr(one, name) for one in choices)[place] for name in fields})


def combined_hash(hashes: Sequence[str]) -> str:
    """The one hash of equal hashes; else the SHA-256 (hex) of all of them in sorted order, a line each."""
    if len(set(hashes)) == 1:
        return hashes[0]
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(hashes)).encode()).hexdigest()


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
