"""One phantom patient with all images and the label, a pure function of seed and index."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom import acquisition, lesions
from semicml_tf.phantom.head import MODALITIES as MR_MODALITIES
from semicml_tf.phantom.head import head
from semicml_tf.phantom.scan import Scan
from semicml_tf.phantom.trunk import trunk

SIZE_MM = (192.0, 192.0, 96.0)
SPACING_MM = (3.0, 3.0, 4.0)
BODIES = {"trunk": ("ct", "pet"), "head": MR_MODALITIES}

_PET_COARSER = np.array([1.4, 1.4, 1.25])
_MR_COARSER = np.array([1.0, 1.0, 1.25])


@dataclasses.dataclass(frozen=True, eq=False)
class PhantomCase:
    """A patient.

    Attributes:
        case_id: name of the case.
        images: by modality, the volume in native units and its grid.
        label: uint8. Trunk: 0 and 1 on the grid of CT. Head: 0, 1, 2 and 4 on the grid of all modalities.
        label_grid: grid of the label.
    """

    case_id: str
    images: Mapping[str, tuple[np.ndarray, Grid]]
    label: np.ndarray
    label_grid: Grid


def name(index: int) -> str:
    """Name of case `index`."""
    return f"PHANTOM_{index:03d}"


def generate(
    seed: int,
    index: int,
    *,
    body: str = "trunk",
    oblique: bool = False,
    empty_fraction: float = 0.1,
    mr: bool = False,
    size_mm: tuple[float, float, float] = SIZE_MM,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> PhantomCase:
    """Makes a case, independent of all other cases.

    Args:
        seed: seed of the phantom.
        index: number of the case.
        body: ``trunk`` (CT and PET) or ``head`` (four MR contrasts).
        oblique: whether grids are tilted, with index axes in random order. Otherwise they are LPS along the world axes.
        empty_fraction: fraction of cases without a lesion.
        mr: whether a trunk has MR. CT, PET and label do not depend on it.
        size_mm: of the field of view: left-right, back-front, feet-head.
        spacing_mm: in the same order. The grids of PET and of MR in a trunk are coarser.
    """
    rng = np.random.default_rng([seed, 0, index])
    scan = Scan.random(rng, size_mm, oblique=oblique)
    grid = scan.grid(spacing_mm)
    empty = lesions.is_empty(seed, index, empty_fraction)
    if body == "head":
        scene = head(rng, scan, empty=empty)
        images = {m: (acquisition.mr(rng, scene, grid, m), grid) for m in MR_MODALITIES}
    else:
        mr_rng = np.random.default_rng([seed, 2, index]) if mr else None
        scene = trunk(rng, scan, empty=empty, mr_rng=mr_rng)
        coarse = scan.second(rng, oblique=oblique).grid(np.array(spacing_mm) * _PET_COARSER)
        images = {
            "ct": (acquisition.ct(rng, scene, grid), grid),
            "pet": (acquisition.pet(rng, scene, coarse), coarse),
        }
        if mr:
            mr_grid = scan.second(mr_rng, oblique=oblique).grid(np.array(spacing_mm) * _MR_COARSER)
            images["mr"] = (acquisition.mr(mr_rng, scene, mr_grid, "mr"), mr_grid)
    return PhantomCase(name(index), images, scene.labels(grid), grid)
