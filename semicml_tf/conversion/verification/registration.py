"""Do CT and PET show one body at one place? A lesion's uptake in the air beside CT's body says that they do not.

A PET resolves some 5 mm, so uptake at the skin fades within that distance. Hot voxels out in the air that hold at
least half of the peak beside them cannot come from where CT puts the skin: one of the images is displaced, and a
label drawn on CT does not fit PET.

Measured on the 36 sarcoma patients (CT, FDG-PET, their masks read for this study alone; the tool reads those of
labelled partitions): STS_019, whose contour is known to be about 7 mm off PET, has 0.7 ml of such voxels, up to SUV
11.9; the other 35 have none (their highest uptake in air is SUV 2.2): no false alarm. The rule was made while
looking at these patients, and others were not tried. Only a lesion near the skin can give itself away: with the other
patients' CT shifted sideways by 7, 10 and 15 mm in eight directions, 1 %, 3 % and 13 % of the shifts were noticed.
Silence proves nothing.

What a mask alone tells was tried first and is not used: the shift of the mask, up to 15 mm, that gives the greatest
contrast in PET between its inside and a shell of 10 mm. STS_019's is 4 to 10 mm, according to the contrast's
definition; so are those of a third of the sound patients or more, whose tumours take up unevenly or have a hot
neighbour. The share of the hot volume more than 3 mm outside the mask is greatest in STS_019 (24 %), but 20 % in two
sound ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.grid import Grid

# Skin, fat and muscle stay below this in FDG-PET; lesions of interest are above.
HOT_SUV = 2.5
# Of the peak within NEAR_MM: the level that an edge has where it truly lies, however far the PET is blurred.
OF_PEAK = 0.5
NEAR_MM = 15.0
# Lungs are denser than air, padding beyond the reconstructed circle is lower.
AIR_HU = (-1100.0, -900.0)
# Whatever is above ends the view from outside: skin, table. Gas in the body is enclosed by it.
SOLID_HU = -500.0
# Less than this is a voxel or two.
LEAST_ML = 0.2
# Where no label says that a lesion is beside it. Hot urine or bowel close to the skin, blurred, leaves a few tenths.
LEAST_ML_ALONE = 0.5

_MOST = 500


@dataclasses.dataclass(frozen=True, eq=False)
class UptakeInAir:
    """A lesion's PET voxels that lie in the air beside CT's body.

    Attributes:
        volume_ml: of these voxels; of the hottest 500 of them where there are more.
        peak_suv: the highest value among them; 0 where there are none.
        points_mm: (n, 3) float64, their centres in RAS+ world space.
    """

    volume_ml: float
    peak_suv: float
    points_mm: np.ndarray

    @property
    def noticeable(self) -> bool:
        """Whether there is enough of it to warn."""
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
            and any(_seen_from_outside(ct, place, axis) for axis in in_plane)
            for voxel, place in zip(hot, index)
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
    places = np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return any(mask[_window(place, reach)].any() for place in places)


def _centres(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _nearest(points_mm: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Nearest voxels of the points, (n, 3), and which of them are in the volume."""
    inverse = np.linalg.inv(grid.affine)
    index = np.round(points_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    return index, np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)


def _window(voxel: np.ndarray, reach: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(max(int(x - r), 0), max(int(x + r + 1), 0)) for x, r in zip(voxel, reach))


def _seen_from_outside(ct: np.ndarray, place: np.ndarray, axis: int) -> bool:
    """Whether nothing solid lies between the voxel and the volume's border, one way or the other along `axis`."""
    line = ct[tuple(slice(None) if other == axis else place[other] for other in range(3))]
    before, behind = line[: place[axis] + 1], line[place[axis] :]
    return bool(before.max() <= SOLID_HU or behind.max() <= SOLID_HU)
