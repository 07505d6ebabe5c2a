"""What a volume and a label tell in numbers: for verification, for the fingerprint of a dataset, for stratification.

Facts in mm and in intensities do not depend on the order in which a file stores its axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from semicml_tf.body_box import body_box, body_mask
from semicml_tf.geometry.grid import Grid

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
LABEL_PERCENTILES = (0.5, 50.0, 99.5)

_CHUNK = 1 << 20
_DROPPED_BITS = 12
_FINITE = float(np.finfo(np.float32).max)


def image_facts(volume: np.ndarray, grid: Grid, kind: str) -> dict[str, Any]:
    """Facts of one image.

    Args:
        volume: 3-D float32, finite, in native units, on `grid`.
        kind: of `normalisation.Normalisation`; decides which voxels are the body.

    Returns:
        JSON values. As stored: ``shape``, ``spacing_mm``, ``orientation`` (such as ``LPS``), ``affine``. In slice,
        row, column order: ``grid`` {shape, spacing_mm, extent_mm}. Of all voxels: ``min``, ``max``, ``integral``
        (whole numbers only). Of the body's: ``mean``, ``std`` and ``percentiles`` {"0.5": ...}, exact to 12
        significant bits (whole numbers to 4096 are exact); None where there is none. ``body``: ``fraction`` of
        voxels; ``extent_mm`` of its box in slice, row, column order and ``box_mm``, two corners in RAS+ world
        space; both None where there is none.
    """
    ordered, order, _ = grid.reordered()
    intensities = _intensities(volume, kind)
    box = body_box(volume, kind)
    return {
        "shape": list(grid.shape),
        "spacing_mm": _rounded(grid.spacing_mm),
        "orientation": "".join(axis or "?" for axis in nibabel.aff2axcodes(grid.affine)),
        "affine": grid.affine.tolist(),
        "grid": {
            "shape": list(ordered.shape),
            "spacing_mm": _rounded(ordered.spacing_mm),
            "extent_mm": _rounded(np.multiply(ordered.shape, ordered.spacing_mm)),
        },
        **intensities["all"],
        **intensities["body"],
        "body": {
            "fraction": intensities["fraction"],
            "extent_mm": None if box is None else _extent_mm(box, grid, order),
            "box_mm": None if box is None else _box_mm(box, grid),
        },
    }


def label_facts(mask: np.ndarray, grid: Grid, images: Mapping[str, tuple[np.ndarray, Grid]]) -> dict[str, Any]:
    """Facts of a label's foreground.

    Args:
        mask: 3-D, 0 outside the lesions, on `grid`.
        images: by modality, the volume in native units and its grid, which may differ from the mask's.

    Returns:
        JSON values: ``voxels``, ``volume_ml``, ``lesions`` (components that do not touch, not even at a corner),
        ``largest_extent_mm`` (longest side of one lesion's box), ``extent_mm`` (box of all, in slice, row, column
        order), ``box_mm`` (its corners in RAS+ world space), ``touches_border`` (of the volume), and ``images``: by
        modality ``covered`` (fraction of the mask's voxels inside that image), ``mean``, ``std``, ``percentiles``
        of the nearest voxels' values. Lengths and intensities are None where there is nothing.
    """
    mask = np.asarray(mask) != 0
    found = ndimage.find_objects(mask.view(np.uint8))
    if not found:
        return {
            "voxels": 0,
            "volume_ml": 0.0,
            "lesions": 0,
            "largest_extent_mm": None,
            "extent_mm": None,
            "box_mm": None,
            "touches_border": False,
            "images": {name: _in_mask(np.empty((0, 3), np.intp), grid, *image) for name, image in images.items()},
        }
    (box,) = found
    inside = mask[box]
    components, count = ndimage.label(inside, structure=np.ones((3, 3, 3), np.uint8))
    spacing = np.array(grid.spacing_mm)
    sides = [[part.stop - part.start for part in lesion] * spacing for lesion in ndimage.find_objects(components)]
    places = np.argwhere(inside) + [bounds.start for bounds in box]
    return {
        "voxels": len(places),
        "volume_ml": _rounded(len(places) * grid.voxel_volume_ml),
        "lesions": int(count),
        "largest_extent_mm": _rounded(np.max(sides)),
        "extent_mm": _extent_mm(box, grid, grid.reordered()[1]),
        "box_mm": _box_mm(box, grid),
        # A volume of one slice has no slice that is not its border.
        "touches_border": any(
            size > 1 and (bounds.start == 0 or bounds.stop == size) for bounds, size in zip(box, mask.shape)
        ),
        "images": {name: _in_mask(places, grid, *image) for name, image in images.items()},
    }


def _in_mask(places: np.ndarray, grid: Grid, volume: np.ndarray, own: Grid) -> dict[str, Any]:
    """Statistics of the image's voxels that lie nearest to the mask's."""
    if len(places) and not grid.is_close(own):
        matrix = np.linalg.inv(own.affine) @ grid.affine
        # A little less than a half: an image shifted by just half a voxel must not lose a plane to rounding.
        places = np.floor(places @ matrix[:3, :3].T + matrix[:3, 3] + 0.5 - 1e-6).astype(np.intp)
    inside = np.all((places >= 0) & (places < own.shape), axis=1)
    values = np.asarray(volume)[tuple(places[inside].T)].astype(np.float64)
    if not values.size:
        return {"covered": 0.0, "mean": None, "std": None, "percentiles": None}
    return {
        "covered": _rounded(inside.mean()),
        "mean": _rounded(values.mean()),
        "std": _rounded(values.std()),
        "percentiles": {
            f"{p:g}": _rounded(v) for p, v in zip(LABEL_PERCENTILES, np.percentile(values, LABEL_PERCENTILES))
        },
    }


def _intensities(volume: np.ndarray, kind: str) -> dict[str, Any]:
    """One pass over the voxels in memory order, in pieces that fit a processor's cache.

    Percentiles come from a histogram over the leading bits of the float32 values: as fine for SUV as for HU, not
    spoilt by an outlier, independent of the axes' order; sorting ten million voxels would take a second.
    """
    flat = np.asarray(volume, np.float32).ravel(order="K")
    counts = np.zeros(1 << (32 - _DROPPED_BITS), np.int64)
    total = squares = 0.0
    integral = True
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        integral = integral and np.array_equal(np.rint(chunk), chunk)
        body = chunk[body_mask(chunk, kind)]
        exact = body.astype(np.float64)
        total += float(exact.sum())
        squares += float(exact @ exact)
        rounded = body.view(np.uint32) + np.uint32(1 << (_DROPPED_BITS - 1))
        counts += np.bincount(rounded >> np.uint32(_DROPPED_BITS), minlength=counts.size)
    number = int(counts.sum())
    stats: dict[str, Any] = {"mean": None, "std": None, "percentiles": None}
    if number:
        mean = total / number
        stats = {
            "mean": _rounded(mean),
            "std": _rounded(np.sqrt(max(squares / number - mean**2, 0.0))),
            "percentiles": {f"{p:g}": _rounded(v) for p, v in zip(PERCENTILES, _percentiles(counts))},
        }
    return {
        "all": {"min": _rounded(flat.min()), "max": _rounded(flat.max()), "integral": bool(integral)},
        "body": stats,
        "fraction": _rounded(number / flat.size),
    }


def _percentiles(counts: np.ndarray) -> np.ndarray:
    """Values at PERCENTILES: of the voxel at that rank, without interpolation."""
    bins = np.flatnonzero(counts)
    values = (bins.astype(np.uint32) << np.uint32(_DROPPED_BITS)).view(np.float32).astype(np.float64)
    values = np.clip(values, -_FINITE, _FINITE)  # the largest float32 is rounded to infinity
    order = np.argsort(values, kind="stable")
    ranks = np.cumsum(counts[bins][order])
    wanted = np.array(PERCENTILES) / 100 * (ranks[-1] - 1)
    return values[order][np.searchsorted(ranks, np.round(wanted), side="right")]


def _extent_mm(box: tuple[slice, ...], grid: Grid, order: tuple[int, int, int]) -> list[float]:
    sides = [(bounds.stop - bounds.start) * spacing for bounds, spacing in zip(box, grid.spacing_mm)]
    return _rounded([sides[axis] for axis in order])


def _box_mm(box: tuple[slice, ...], grid: Grid) -> list[list[float]]:
    """Two corners, in RAS+ world space, of the upright box round the voxels' edges."""
    corners = np.array(list(itertools.product(*((bounds.start - 0.5, bounds.stop - 0.5) for bounds in box))))
    world = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return [_rounded(world.min(axis=0)), _rounded(world.max(axis=0))]


def _rounded(value: Any) -> Any:
    """To six significant digits: a sum's last bits must not change a file."""
    if np.ndim(value):
        return [_rounded(item) for item in value]
    return float(f"{float(value):.6g}")
