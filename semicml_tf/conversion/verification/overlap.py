"""How much of one image's box another image shows, and how many slices of it it misses."""

from __future__ import annotations

import itertools
import os

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid

# A modality that shows less of the reference's box than this is another patient, or another region.
LEAST_OVERLAP = 0.5


def covered(reference: Grid, other: Grid) -> float:
    """Fraction of `reference`'s box that lies in `other`'s box, on a lattice of 16 points an axis."""
    steps = [(np.arange(16) + 0.5) / 16 * size - 0.5 for size in reference.shape]
    points = np.array([(*point, 1.0) for point in itertools.product(*steps)])
    indices = (points @ (np.linalg.inv(other.affine) @ reference.affine).T)[:, :3]
    inside = (indices >= -0.5) & (indices <= np.array(other.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def check_overlap(
    reference: Grid, other: Grid, *, case_id: str, reference_name: str, name: str, path: str | os.PathLike
) -> None:
    """Refuses a modality that shows too little of the reference's box.

    Args:
        reference, other: grids of the two images.
        case_id, reference_name, name, path: for the message; `name` and `path` are the other's.

    Raises:
        UserError: it covers less than `LEAST_OVERLAP`.
    """
    share = covered(reference, other)
    if share < LEAST_OVERLAP:
        raise UserError(
            f"'{name}' of case {case_id} covers {share:.0%} of the box of '{reference_name}', "
            f"expected at least {LEAST_OVERLAP:.0%}",
            path=path,
            remedy="Check that both are of one patient and that their affines are right, or exclude the case",
        )
