"""Deals patients to groups of given sizes so that all groups get about the same sizes of lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def dealt(
    candidates: Sequence[str], counts: Mapping[str, int], lesion_ml: Mapping[str, float], fixed: Mapping[str, str]
) -> dict[str, list[str]]:
    """Every candidate in one group.

    Patients are sorted by size and cut into strata, as many as the smallest group has members; in each stratum
    every group gets its share, and who of the stratum goes where is random.

    Args:
        candidates: in random order: all randomness comes from it.
        counts: size by group; their sum is the number of candidates.
        lesion_ml: by candidate; one that is not in it counts as 0.
        fixed: the group of those that cannot be in another.
    """
    groups: dict[str, list[str]] = {name: [] for name in counts}
    for name, group in fixed.items():
        groups[group].append(name)
    place = {name: number for number, name in enumerate(candidates) if name not in fixed}
    by_size = sorted(place, key=lambda name: (lesion_ml.get(name, 0.0), place[name]))
    left = {group: count - len(groups[group]) for group, count in counts.items()}
    turns = _interleaved(left)
    strata = min((count for count in left.values() if count > 0), default=1)
    for number in range(strata):
        start, stop = (len(by_size) * edge // strata for edge in (number, number + 1))
        for name, group in zip(sorted(by_size[start:stop], key=place.__getitem__), turns[start:stop]):
            groups[group].append(name)
    return groups


def _interleaved(counts: Mapping[str, int]) -> list[str]:
    """Each group's name as often as it has members, spread as evenly as can be."""
    total, given, turns = sum(counts.values()), dict.fromkeys(counts, 0), []
    for number in range(1, total + 1):
        # Whoever is furthest behind its share.
        group = max(counts, key=lambda name: counts[name] * number - given[name] * total)
        given[group] += 1
        turns.append(group)
    return turns
