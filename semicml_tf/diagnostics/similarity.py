"""Similarity of two networks' maps of unlabelled slices, by visible foreground and by patient."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from semicml_tf.losses.asc import relations, sees_something, similarity_matrix
from semicml_tf.methods.catalogue import MethodSettings

# Kinds of pairs of maps of different slices: by patient, and by the number of maps with visible foreground.
OWNERS = ("same patient", "other patients")
SEEN = ("neither sees", "one sees", "both see")


class Batch(NamedTuple):
    """Maps of the same slices: (batch, h, w, 1) of one modality and the other, and (batch,) numbers of patients."""

    first: np.ndarray
    second: np.ndarray
    patients: np.ndarray


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The pairs of a batch's maps.

    Attributes:
        scores: similarity, (2B, 2B), a row per anchor.
        positive: bool, (2B, 2B): maps of the same slice.
        used: bool, (2B, 2B): negatives that the loss pushes apart.
        sees: bool, (2B,): whether a map has visible foreground.
        owner: patient of each map, (2B,).
    """

    scores: np.ndarray
    positive: np.ndarray
    used: np.ndarray
    sees: np.ndarray
    owner: np.ndarray


def pairs(batch: Batch, settings: MethodSettings) -> Pairs:
    """All pairs of a batch's maps, with the pairs that the loss of these settings pushes apart."""
    maps = np.concatenate([batch.first, batch.second])
    positive, negative, anchors = (
        np.asarray(relation)
        for relation in relations(maps, batch.patients, negatives=settings.asc_negatives, empty=settings.asc_empty)
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
    """Shares and means over batches of training steps.

    Returns:
        ``slices``: their number; ``seen_by_both``, ``seen_by_one``, ``seen_by_none``: shares of slices by the number
        of maps with visible foreground; ``alike``: mean similarity of a slice's two maps by `SEEN`, None without such a
        slice; ``kinds``: rows by `OWNERS` and `SEEN` with ``pairs``, the share of all pairs of different slices,
        ``similarity``, the mean, ``weight``, the share of the loss's push if all other maps were negatives (a pair has
        ``exp(s / T)`` over its anchor's sum), and ``used``, the share of pairs that these settings push apart.
    """
    pairs_of_batches = [pairs(batch, settings) for batch in batches]
    positive_scores = [batch_pairs.scores[batch_pairs.positive] for batch_pairs in pairs_of_batches]
    seen = [batch_pairs.sees.astype(int) + _partner(batch_pairs.sees) for batch_pairs in pairs_of_batches]
    counts, positive_scores = np.concatenate(seen), np.concatenate(positive_scores)
    rows = {(owner, kind): ([], [], []) for owner in OWNERS for kind in SEEN}
    for batch_pairs in pairs_of_batches:
        others = ~batch_pairs.positive & ~np.eye(len(batch_pairs.scores), dtype=bool)
        # Minus the largest of the row, so that exp is finite at any temperature.
        largest = np.where(others, batch_pairs.scores, -np.inf).max(axis=1, keepdims=True)
        force = np.where(others, np.exp((batch_pairs.scores - largest) / settings.asc_temperature), 0.0)
        force /= force.sum(axis=1, keepdims=True)
        same = batch_pairs.owner[:, None] == batch_pairs.owner[None, :]
        see = batch_pairs.sees[:, None].astype(int) + batch_pairs.sees[None, :]
        for (owner, kind), (scores, weights, used) in rows.items():
            which = others & (same if owner == OWNERS[0] else ~same) & (see == SEEN.index(kind))
            scores.append(batch_pairs.scores[which])
            weights.append(force[which])
            used.append(batch_pairs.used[which])
    joined = {key: [np.concatenate(parts) for parts in lists] for key, lists in rows.items()}
    total = sum(len(scores) for scores, _, _ in joined.values())
    push = sum(weights.sum() for _, weights, _ in joined.values())
    return {
        "slices": len(counts) // 2,
        **{f"seen_by_{name}": float((counts == number).mean()) for number, name in enumerate(("none", "one", "both"))},
        "alike": {kind: _mean(positive_scores[counts == number]) for number, kind in enumerate(SEEN)},
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
    """The batch sorted by patient."""
    order: Sequence[int] = np.argsort(batch.patients, kind="stable")
    return Batch(*(values[order] for values in batch))
