"""Label fusion by logistic regression: the truth of validation patients on their teachers' log-odds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize
import scipy.special

from semicml_tf.records.case_record import CaseRecord

# Log-odds beyond this probability are cut: a network that is sure to the last bit would outvote any other.
SUREST = 1e-4
# A teacher of at least this probability sees something in a voxel. It is the lowest threshold of validation.
_SEEN = 0.1
# Numbers that are kept of a patient, in each of two groups of voxels.
_MOST_NUMBERS = 4096


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some voxels of a validation patient.

    Attributes:
        log_odds: (voxels, modalities, classes) float32, of a region against the rest, and of an exclusive class against
            the background; NaN of a modality that the patient lacks.
        truth: (voxels, classes) float32, 0 or 1.
        weights: (voxels,) float64, voxels of the patient that each voxel stands for. They are divided by the number
            of voxels in which the truth or a teacher has foreground, so that a large lesion counts as much as a
            small one.
    """

    log_odds: np.ndarray
    truth: np.ndarray
    weights: np.ndarray


class Samples:
    """Voxels of the validation patients for each regression: one for each region, or one for all exclusive classes.

    Args:
        modalities: of the teachers.
    """

    def __init__(self, modalities: Sequence[str]):
        self.modalities = tuple(modalities)
        self.patients: list[list[Sample | None]] = []

    def add(self, record: CaseRecord, maps: Mapping[str, np.ndarray]) -> None:
        """Adds a patient.

        Args:
            record: with its label.
            maps: by modality, probabilities (classes, slices, rows, columns); a patient may lack modalities.
        """
        labels = record.labels
        ignored, masks = labels.ignored(record.label), labels.masks(record.label)
        valid = np.ones(record.label.shape, bool) if ignored is None else ~ignored
        own = {name: maps[name] for name in self.modalities if name in maps}
        groups = [slice(None)] if labels.exclusive else [slice(one, one + 1) for one in range(len(masks))]
        samples = []
        for group in groups:
            maps_of_group = {name: p[group] for name, p in own.items()}
            samples.append(self._sample(maps_of_group, masks[group], valid, labels.exclusive) if own else None)
        self.patients.append(samples)

    def _sample(
        self, maps: Mapping[str, np.ndarray], masks: np.ndarray, valid: np.ndarray, exclusive: bool
    ) -> Sample | None:
        """Voxels with foreground in the truth or a teacher, and other voxels; None if there is no foreground.

        Args:
            maps, masks: (classes, slices, rows, columns), of the classes of one regression.
            valid: (slices, rows, columns), annotated voxels.
        """
        foreground = [p.max(axis=0) >= _SEEN for p in maps.values()]
        seen = functools.reduce(np.logical_or, foreground, masks.any(axis=0)) & valid
        rest = (valid & ~seen).ravel()
        inside = np.flatnonzero(seen)
        count = len(inside)
        if not count:
            return None
        # A fixed seed: the same maps give the same fit.
        generator = np.random.default_rng(len(self.patients))
        most = max(_MOST_NUMBERS // (len(self.modalities) * len(masks)), 64)
        if count > most:
            inside = generator.choice(inside, most, replace=False)
        drawn = generator.integers(0, rest.size, most)
        outside = drawn[rest[drawn]]
        where = np.concatenate([inside, outside])
        stands_for = (count / len(inside), np.count_nonzero(rest) / max(len(outside), 1))
        log_odds = np.full((len(where), len(self.modalities), len(masks)), np.nan, np.float32)
        for name, p in maps.items():
            at = p.reshape(len(masks), -1)[:, where].astype(np.float64)
            others = 1.0 - (at.sum(axis=0) if exclusive else at)
            log_odds[:, self.modalities.index(name)] = (_log(at) - _log(others)).T
        return Sample(
            log_odds,
            masks.reshape(len(masks), -1)[:, where].T.astype(np.float32),
            np.repeat(stands_for, (len(inside), len(outside))) / count,
        )

    def fit(
        self, problem: int, members: Sequence[int], cuts: np.ndarray, deviation: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The fit for patients who have the modalities `members` alone, on all validation patients who have these.

        Args:
            problem: number of the region; 0 for exclusive classes.
            members: numbers of the modalities.
            cuts: (modalities, classes), log-odds from which the evidence counts.
            deviation: see `regression`.

        Returns:
            As `regression`. Without such a patient the prior's means, which are those of the plain sum.
        """
        samples = [patient[problem] for patient in self.patients]
        samples = [one for one in samples if one and not np.isnan(one.log_odds[:, members]).any()]
        members = list(members)
        evidence = [one.log_odds[:, members] - cuts[members] for one in samples]
        classes = cuts.shape[-1]
        return regression(
            np.concatenate([np.zeros((0, len(members), classes)), *evidence]),
            np.concatenate([np.zeros((0, classes)), *(one.truth for one in samples)]),
            np.concatenate([np.zeros(0), *(one.weights for one in samples)]),
            deviation,
        )


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, SUREST, 1.0 - SUREST))


def regression(
    evidence: np.ndarray, truth: np.ndarray, weights: np.ndarray, deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable slopes and offsets of a (multinomial) logistic regression.

    The log-odds of class k against the background are ``sum_m slope_m evidence_mk + offset_k``. The prior of each slope
    is normal about 1, that of each offset normal about 0. A slope is not negative: a teacher that sees little
    weighs little, and its opposite is no evidence.

    Args:
        evidence: (voxels, modalities, classes), log-odds.
        truth: (voxels, classes), 0 or 1.
        weights: (voxels,), on the voxels' cross entropy.
        deviation: standard deviation of the prior. 0 returns its means.

    Returns:
        Slopes (modalities,) and offsets (classes,), float64.
    """
    count, modalities, classes = evidence.shape
    evidence, truth = evidence.astype(np.float64), truth.astype(np.float64)
    prior = np.repeat([1.0, 0.0], (modalities, classes))

    def loss(standardised: np.ndarray) -> tuple[float, np.ndarray]:
        values = prior + deviation * standardised
        odds = np.einsum("nmk,m->nk", evidence, values[:modalities]) + values[modalities:]
        norm = scipy.special.logsumexp(np.concatenate([np.zeros((count, 1)), odds], axis=1), axis=1)
        error = weights[:, np.newaxis] * (np.exp(odds - norm[:, np.newaxis]) - truth)
        gradient = np.concatenate([np.einsum("nk,nmk->m", error, evidence), error.sum(axis=0)])
        cross_entropy = np.sum(weights * (norm - np.sum(truth * odds, axis=1)))
        return cross_entropy + 0.5 * standardised @ standardised, deviation * gradient + standardised

    least = -1.0 / deviation if deviation else None
    bounds = [(least, None)] * modalities + [(None, None)] * classes
    found = scipy.optimize.minimize(
        loss, np.zeros_like(prior), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8}
    )
    values = prior + deviation * found.x
    return values[:modalities], values[modalities:]
