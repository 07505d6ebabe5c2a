"""The splits of an experiment: nested draws of labelled patients, one draw for each seed.

All cells have the validation and test patients of the study's own split. The other patients, labelled or not, are the
pool. A seed orders the pool, and the first n patients are labelled. With one seed, smaller draws are subsets of larger
draws. All rows share the draws.
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection

import numpy as np

from semicml_tf.conversion.splitting import split as splits
from semicml_tf.conversion.splitting.split import EXCLUDED, Split
from semicml_tf.errors import UserError
from semicml_tf.experiments.run_spec import ALL
from semicml_tf.experiments.study import Study

# Added to the seed, so that this draw is independent of other draws with the same seed.
_DRAW = 11


def pool_of(base: Split) -> tuple[str, ...]:
    """The names in the base split that a draw may label, sorted."""
    return tuple(sorted([*base["labelled"], *base["unlabelled"]]))


def number_of(labelled: str, pool: int) -> int:
    """Number of labelled patients in a pool.

    Args:
        labelled: a number, or "all".
        pool: number of patients in the pool.

    Raises:
        UserError: the pool has fewer patients.
    """
    count = pool if labelled == ALL else int(labelled)
    if count > pool:
        raise UserError(
            f"expected at most {pool} labelled patients, without those for validation and test, got {count}",
            remedy=f"Lower --labelled_patients, or write {ALL}",
        )
    return count


def order_of(pool: Collection[str], seed: int, incomplete: Collection[str] = ()) -> list[str]:
    """The order in which a seed labels the patients of a pool; those in `incomplete` come last."""
    names = sorted(pool)
    order = [names[index] for index in np.random.default_rng([seed, _DRAW]).permutation(len(names))]
    return sorted(order, key=lambda name: name in incomplete)


def drawn(base: Split, labelled: str, seed: int, incomplete: Collection[str] = ()) -> Split:
    """The split of a cell.

    Args:
        base: of the study.
        labelled: number of labelled patients, or "all".
        seed: of the order of the pool.
        incomplete: patients without all modalities, who are labelled after the others.

    Raises:
        UserError: the pool has fewer patients.
    """
    pool = pool_of(base)
    count = number_of(labelled, len(pool))
    order = order_of(pool, seed, incomplete)
    return Split(
        {
            "labelled": tuple(sorted(order[:count])),
            "unlabelled": tuple(sorted(order[count:])),
            **{name: base[name] for name in ("validation", "test", EXCLUDED)},
        }
    )


def base_split(
    study: Study,
    source: pathlib.Path | None,
    given: str | None,
    required: Collection[str] = ("validation", "test"),
) -> Split:
    """The study's own split.

    Args:
        study: its flags may name the split.
        source: folder of the volumes; None for a phantom of the study's flags, which need not exist yet.
        given: path of the file from the command line.
        required: partitions that must have patients.

    Raises:
        UserError: there is no split, or a required partition has no patients.
    """
    path = given or (study.options("convert")["split"] if source else None)
    if path:
        split = splits.read(path)
    elif source is None:
        split, path = _of_phantom(study), "the phantom"
    elif (source / splits.FILE_NAME).is_file():
        path = source / splits.FILE_NAME
        split = splits.read(path)
    else:
        raise UserError(
            "expected a split with validation and test patients, got none",
            path=source,
            remedy="Pass --base_split=FILE.json; a conversion with --split_seed=0 writes one as split.json",
        )
    for name in required:
        if not split[name]:
            raise UserError(f"expected patients in '{name}', got none", path=path, remedy="Correct the split")
    return split


def incomplete_of_phantom(study: Study) -> set[str]:
    """The patients of the study's phantom who lack a modality."""
    from semicml_tf.phantom import split as phantom_split

    phantom = study.config("phantom", "--output=OUTPUT")
    return phantom_split.incomplete(_of_phantom(study)["unlabelled"], phantom.seed, phantom.incomplete_fraction)


def _of_phantom(study: Study) -> Split:
    from semicml_tf.phantom import split as phantom_split
    from semicml_tf.phantom.writers import LAYOUTS

    phantom = study.config("phantom", "--output=OUTPUT")
    names = [LAYOUTS[phantom.layout].case_id(index) for index in range(phantom.cases)]
    partitions = phantom_split.draw(
        names, phantom.seed, labelled=phantom.labelled, validation=phantom.validation, test=phantom.test
    )
    return splits.checked(partitions)
