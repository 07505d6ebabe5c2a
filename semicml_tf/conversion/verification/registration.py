"""Detects a displacement between CT and PET: uptake of a lesion's strength in the air beside the body in CT.

The resolution of PET is about 5 mm, so uptake at the skin fades within that distance. Voxels in the air with at least
half of a nearby peak cannot come from inside the body of the CT. One of the images is then displaced, and a label drawn
on CT does not fit PET.

Limits, measured on the 36 sarcoma patients with CT and FDG-PET, on which the rule was also developed: STS_019, whose
contour is about 7 mm off PET, has 0.7 ml of such voxels, up to SUV 11.9. The other 35 patients have none; their highest
uptake in air is SUV 2.2. Only lesions near the skin can be detected: with the CT of the other patients shifted sideways
by 7, 10 and 15 mm in eight directions, 1 %, 3 % and 13 % of the shifts were detected.

The mask without CT does not detect the displacement. The shift of the mask with the greatest contrast in PET is 4 to
10 mm in STS_019, but also in at least a third of the patients without a displacement.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.grid import Grid

# Skin, fat and muscle are below this in FDG-PET; lesions of interest are above.
HOT_SUV = 2.5
# Fraction of the peak within NEAR_MM. The true position of an edge has this level, independent of the blur.
OF_PEAK = 0.5
NEAR_MM = 15.0
# Lungs are denser than air, padding beyond the reconstructed circle is lower.
AIR_HU = (-1100.0, -900.0)
# Skin and table are above. Air that they enclose, such as gas in the body, is not outside.
SOLID_HU = -500.0
# Smaller volumes are one or two voxels.
LEAST_ML = 0.2
# Threshold without a labelled lesion nearby. Urine or bowel close to the skin has a few tenths of an ml.
LEAST_ML_ALONE = 0.5

_MOST = 500


@dataclasses.dataclass(frozen=True, eq=False)
class UptakeInAir:
    """Hot PET voxels in the air beside the body in CT.

    Attributes:
        volume_ml: volume of these voxels, limited to the 500 hottest.
        peak_suv: their highest value; 0 if there are none.
        points_mm: centres (n, 3) in RAS+ world space, float64.
    """

    volume_ml: float
    peak_suv: float
    points_mm: np.ndarray

    @property
    def noticeable(self) -> bool:
        """Whether the volume is large enough for a warning."""
        return self.volume_ml >= LEAST_ML


def uptake_in_air(pet: np.ndarray, pet_grid: Grid, ct: np.ndarray, ct_grid: Grid) -> UptakeInAir:
    """Finds hot PET voxels whose centre lies in the air that surrounds the body in CT.

    Args:
        pet: 3-D, SUV, on `pet_grid`.
        ct: 3-D, HU, on `ct_grid`.
    """
    hot = np.argwhere(pet >= HOT_SUV)
    index, inside = _nearest(_centres(hot, pet_grid), ct_grid)
    hot, index = hot[inside], index[inside]
    values = ct[tuple(index.T)]
    air = (values >= AIR_HU[0]) & (values <= AIR_HU[1])
    hot, index = hot[air], index[air]
    hottest = np.argsort(-pet[tuple(hot.T)], kind="stable")[:_MOST]
    hot, index = hot[hottest], index[hottest]
    reach = np.ceil(NEAR_MM / np.array(pet_grid.spacing_mm)).astype(int)
    _, (_, *in_plane), _ = ct_grid.reordered()
    keep = np.array(
        [
            pet[tuple(voxel)] >= OF_PEAK * pet[_window(voxel, reach)].max()
            and any(_seen_from_outside(ct, ct_voxel, axis) for axis in in_plane)
            for voxel, ct_voxel in zip(hot, index)
        ],
        dtype=bool,
    )
    hot = hot[keep]
    return UptakeInAir(
        volume_ml=len(hot) * pet_grid.voxel_volume_ml,
        peak_suv=float(pet[tuple(hot.T)].max(initial=0.0)),
        points_mm=_centres(hot, pet_grid),
    )


def beside(points_mm: np.ndarray, mask: np.ndarray, grid: Grid) -> bool:
    """Whether the mask, on `grid`, has a voxel within about NEAR_MM of any of the points in world space."""
    inverse = np.linalg.inv(grid.affine)
    reach = np.ceil(NEAR_MM / np.array(grid.spacing_mm)).astype(int)
    voxels = np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return any(mask[_window(voxel, reach)].any() for voxel in voxels)


def _centres(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _nearest(points_mm: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Nearest voxels of the points, (n, 3), and which of them are in the volume."""
    inverse = np.linalg.inv(grid.affine)
    index = np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return index, np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)


def _window(voxel: np.ndarray, reach: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(max(int(x - r), 0), max(int(x + r + 1), 0)) for x, r in zip(voxel, reach))


def _seen_from_outside(ct: np.ndarray, voxel: np.ndarray, axis: int) -> bool:
    """Whether nothing solid is between the voxel and the border of the volume in a direction along `axis`."""
    line = ct[tuple(slice(None) if other == axis else voxel[other] for other in range(3))]
    before, behind = line[: voxel[axis] + 1], line[voxel[axis] :]
    return bool(before.max() <= SOLID_HU or behind.max() <= SOLID_HU)
