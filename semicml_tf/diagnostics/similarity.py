"""Similarity of two networks' maps of unlabelled slices, by visible foreground and by patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from semicml_tf.losses.asc import relations, sees_something, similarity_matrix
from semicml_tf.methods.catalogue import MethodSettings

# Pairs of maps that are not of one slice, by whose they are and how many of the two see something.
OWNERS = ("same patient", "other patients")
SEEN = ("neither sees", "one sees", "both see")


class Batch(NamedTuple):
    """Maps of the same slices: (batch, h, w, 1) of one modality and the other, and (batch,) numbers of patients."""

    first: np.ndarray
    second: np.ndarray
    patients: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A batch's pairs of maps, (2B, 2B) each with a row for each anchor, and what each map is, (2B,)."""

    scores: np.ndarray
    positive: np.ndarray
    used: np.ndarray
    sees: np.ndarray
    owner: np.ndarray


def pairs(batch: Batch, settings: MethodSettings) -> Pairs:
    """All pairs of a batch's maps, and which of them the loss of these settings pushes apart."""
    maps = np.concatenate([batch.first, batch.second])
    positive, negative, anchors = (
        np.asarray(found)
        for found in relations(maps, batch.patients, negatives=settings.asc_negatives, empty=settings.asc_empty)
    )
    return Pairs(
        scores=np.asarray(similarity_matrix(maps, settings.asc_similarity)),
        positive=positive,
        used=negative & anchors[:, None],
        sees=np.asarray(sees_something(maps)),
        owner=np.concatenate([batch.patients, batch.patients]),
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def measure(batches: Iterable[Batch], settings: MethodSettings) -> dict:
    """Shares and means over batches. Each batch is a batch of a training step.

    Returns:
        ``slices``; ``seen_by_both``, ``seen_by_one``, ``seen_by_none``: shares of them; ``alike``: mean similarity of
        a slice's two maps by how many of them see something, None where there is no such slice; ``kinds``: for each
        of `OWNERS` and `SEEN`, the share of all pairs of different slices, their mean similarity, their share of
        the weight with which the loss pushes maps apart when every map is every other's negative (``weight``: that of
        a pair is ``exp(s / T)`` over its anchor's sum), and how many of them these settings push apart (``used``).
    """
    held = [pairs(batch, settings) for batch in batches]
    own = [found.scores[found.positive] for found in held]
    seen = [found.sees.astype(int) + _partner(found.sees) for found in held]
    counts, own = np.concatenate(seen), np.concatenate(own)
    rows = {(owner, kind): ([], [], []) for owner in OWNERS for kind in SEEN}
    for found in held:
        others = ~found.positive & ~np.eye(len(found.scores), dtype=bool)
        # Less the row's largest: finite at any temperature.
        largest = np.where(others, found.scores, -np.inf).max(axis=1, keepdims=True)
        force = np.where(others, np.exp((found.scores - largest) / settings.asc_temperature), 0.0)
        force /= force.sum(axis=1, keepdims=True)
        same = found.owner[:, None] == found.owner[None, :]
        see = found.sees[:, None].astype(int) + found.sees[None, :]
        for (owner, kind), (scores, weights, used) in rows.items():
            which = others & (same if owner == OWNERS[0] else ~same) & (see == SEEN.index(kind))
            scores.append(found.scores[which])
            weights.append(force[which])
            used.append(found.used[which])
    joined = {key: [np.concatenate(parts) for parts in lists] for key, lists in rows.items()}
    total = sum(len(scores) for scores, _, _ in joined.values())
    push = sum(weights.sum() for _, weights, _ in joined.values())
    return {
        "slices": len(counts) // 2,
        **{f"seen_by_{name}": float((counts == number).mean()) for number, name in enumerate(("none", "one", "both"))},
        "alike": {kind: _mean(own[counts == number]) for number, kind in enumerate(SEEN)},
        "kinds": [
            {
                "owner": owner,
                "seen": kind,
                "pairs": len(scores) / total,
                "similarity": _mean(scores),
                "weight": float(weights.sum() / push),
                "used": _mean(used.astype(float)),
            }
            for (owner, kind), (scores, weights, used) in joined.items()
        ],
    }


def _partner(values: np.ndarray) -> np.ndarray:
    return np.roll(values, len(values) // 2)


def by_patient(batch: Batch) -> Batch:
    """The batch with a patient's slices side by side."""
    order: Sequence[int] = np.argsort(batch.patients, kind="stable")
    return Batch(*(values[order] for values in batch))
