"""Label fusion by logistic regression of the labels of validation patients on the log-odds of the teachers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize
import scipy.special

from semicml_tf.records.case_record import CaseRecord

# Probabilities are clipped to this distance from 0 and 1. Otherwise a saturated network would dominate all others.
SUREST = 1e-4
# Teachers have foreground from this probability on, which is the lowest threshold of validation.
_SEEN = 0.1
# Largest number of stored values per patient in each of two groups of voxels.
_MOST_NUMBERS = 4096


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sample of the voxels of a validation patient.

    Attributes:
        log_odds: (voxels, modalities, classes) float32, of a region against the rest, or of an exclusive class against
            the background; NaN for missing modalities.
        truth: (voxels, classes) float32, 0 or 1.
        weights: (voxels,) float64, number of voxels of the patient that each voxel represents, divided by the number of
            voxels in which the truth or a teacher has foreground. Large and small lesions thus count the same.
    """

    log_odds: np.ndarray
    truth: np.ndarray
    weights: np.ndarray


class Samples:
    """Samples of the validation patients for each regression: one per region, or one for all exclusive classes.

    Args:
        modalities: of the teachers.
    """

    def __init__(self, modalities: Sequence[str]):
        self.modalities = tuple(modalities)
        self.patients: list[list[Sample | None]] = []

    def add(self, record: CaseRecord, maps: Mapping[str, np.ndarray]) -> None:
        """Adds a patient.

        Args:
            record: a record with a label.
            maps: by modality, probabilities (classes, slices, rows, columns). Modalities may be missing.
        """
        labels = record.labels
        ignored, masks = labels.ignored(record.label), labels.masks(record.label)
        valid = np.ones(record.label.shape, bool) if ignored is None else ~ignored
        available = {name: maps[name] for name in self.modalities if name in maps}
        groups = [slice(None)] if labels.exclusive else [slice(k, k + 1) for k in range(len(masks))]
        samples = []
        for group in groups:
            maps_of_group = {name: p[group] for name, p in available.items()}
            samples.append(self._sample(maps_of_group, masks[group], valid, labels.exclusive) if available else None)
        self.patients.append(samples)

    def _sample(
        self, maps: Mapping[str, np.ndarray], masks: np.ndarray, valid: np.ndarray, exclusive: bool
    ) -> Sample | None:
        """Samples voxels with foreground in the truth or a teacher, and other voxels; None without foreground.

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
        # The seed is fixed, so that the same maps give the same fit.
        generator = np.random.default_rng(len(self.patients))
        most = max(_MOST_NUMBERS // (len(self.modalities) * len(masks)), 64)
        if count > most:
            inside = generator.choice(inside, most, replace=False)
        drawn = generator.integers(0, rest.size, most)
        outside = drawn[rest[drawn]]
        voxels = np.concatenate([inside, outside])
        represented = (count / len(inside), np.count_nonzero(rest) / max(len(outside), 1))
        log_odds = np.full((len(voxels), len(self.modalities), len(masks)), np.nan, np.float32)
        for name, p in maps.items():
            sampled = p.reshape(len(masks), -1)[:, voxels].astype(np.float64)
            others = 1.0 - (sampled.sum(axis=0) if exclusive else sampled)
            log_odds[:, self.modalities.index(name)] = (_log(sampled) - _log(others)).T
        return Sample(
            log_odds,
            masks.reshape(len(masks), -1)[:, voxels].T.astype(np.float32),
            np.repeat(represented, (len(inside), len(outside))) / count,
        )

    def fit(
        self, problem: int, members: Sequence[int], cuts: np.ndarray, deviation: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The fit for patients with only the modalities `members`, on all validation patients with these modalities.

        Args:
            problem: number of the region; 0 for exclusive classes.
            members: numbers of the modalities.
            cuts: (modalities, classes), log-odds of the thresholds.
            deviation: see `regression`.

        Returns:
            As `regression`. Without such a patient, the means of the prior, which give the plain sum.
        """
        samples = [patient[problem] for patient in self.patients]
        samples = [sample for sample in samples if sample and not np.isnan(sample.log_odds[:, members]).any()]
        members = list(members)
        evidence = [sample.log_odds[:, members] - cuts[members] for sample in samples]
        classes = cuts.shape[-1]
        return regression(
            np.concatenate([np.zeros((0, len(members), classes)), *evidence]),
            np.concatenate([np.zeros((0, classes)), *(sample.truth for sample in samples)]),
            np.concatenate([np.zeros(0), *(sample.weights for sample in samples)]),
            deviation,
        )


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, SUREST, 1.0 - SUREST))


def regression(
    evidence: np.ndarray, truth: np.ndarray, weights: np.ndarray, deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum a posteriori slopes and offsets of a (multinomial) logistic regression.

    The log-odds of class k against the background are ``sum_m slope_m evidence_mk + offset_k``. The priors of
    slopes and offsets are normal with means 1 and 0. Slopes are not negative: an uninformative teacher has a small
    weight, and never counts as evidence for the opposite.

    Args:
        evidence: (voxels, modalities, classes), log-odds.
        truth: (voxels, classes), 0 or 1.
        weights: (voxels,), of the cross entropy of each voxel.
        deviation: standard deviation of the priors. 0 returns their means.

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
    result = scipy.optimize.minimize(
        loss, np.zeros_like(prior), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8}
    )
    values = prior + deviation * result.x
    return values[:modalities], values[modalities:]
