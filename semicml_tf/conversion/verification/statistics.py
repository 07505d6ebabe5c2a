"""Statistics of volumes and labels: for verification, for the fingerprint of a dataset and for stratified splits.

Statistics in mm and in intensities do not depend on the order in which a file stores its axes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import LabelDefinition
from semicml_tf.preprocessing.body_box import body_box
from semicml_tf.preprocessing.intensities import intensities, rounded6
from semicml_tf.records.case_cards import AXES, CASE, PARTITION, SPAN, Card

LABEL_PERCENTILES = (0.5, 50.0, 99.5)


def image_facts(volume: np.ndarray, grid: Grid, kind: str) -> dict[str, Any]:
    """Statistics of one image.

    Args:
        volume: 3-D float32, finite, in native units, on `grid`.
        kind: of `normalisation.Normalisation`, which determines the voxels of the body.

    Returns:
        JSON values.

        * In the order of the file: ``shape``, ``spacing_mm``, ``orientation`` (such as ``LPS``), ``affine``.
        * ``grid``: shape, spacing_mm and extent_mm in slice, row, column order.
        * Of all voxels: ``min``, ``max``, ``integral`` (whether all are integers).
        * Of voxels in the body, or None without a body: ``mean``, ``std``, ``percentiles`` {"0.5": ...} with 12
          significant bits (integers up to 4096 are exact), ``core_median`` and ``core_fraction`` (see `intensities`).
        * ``body``: ``fraction`` of voxels, ``extent_mm`` of the box in slice, row, column order, and ``box_mm``, two
          corners in RAS+ world space. The last two are None without a body.
    """
    ordered, order, _ = grid.reordered()
    values = intensities(volume, kind)
    fraction = values.pop("fraction")
    box = body_box(volume, kind)
    return {
        "shape": list(grid.shape),
        "spacing_mm": rounded6(grid.spacing_mm),
        "orientation": "".join(axis or "?" for axis in nibabel.aff2axcodes(grid.affine)),
        "affine": grid.affine.tolist(),
        "grid": {
            "shape": list(ordered.shape),
            "spacing_mm": rounded6(ordered.spacing_mm),
            "extent_mm": rounded6(np.multiply(ordered.shape, ordered.spacing_mm)),
        },
        **values,
        "body": {
            "fraction": fraction,
            "extent_mm": None if box is None else _extent_mm(box, grid, order),
            "box_mm": None if box is None else _box_mm(box, grid),
        },
    }


def label_facts(mask: np.ndarray, grid: Grid, images: Mapping[str, tuple[np.ndarray, Grid]]) -> dict[str, Any]:
    """Statistics of the foreground of a label.

    Args:
        mask: 3-D, 0 outside the lesions, on `grid`.
        images: by modality, the volume in native units and its grid, which may differ from `grid`.

    Returns:
        JSON values. Lengths and intensities are None without foreground.

        * ``voxels``, ``volume_ml``, ``lesions`` (26-connected components), ``largest_extent_mm`` (longest side of the
          box of a lesion).
        * Of the box of all lesions: ``extent_mm`` in slice, row, column order, ``box_mm`` (two corners in RAS+ world
          space), ``touches_border`` (of the volume).
        * ``images``: by modality, ``covered`` (fraction of the foreground inside the image), and ``mean``, ``std``,
          ``percentiles`` of the nearest voxels.
    """
    mask = np.asarray(mask) != 0
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes:
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
    (box,) = boxes
    inside = mask[box]
    components, count = ndimage.label(inside, structure=np.ones((3, 3, 3), np.uint8))
    spacing = np.array(grid.spacing_mm)
    sides = [[part.stop - part.start for part in lesion] * spacing for lesion in ndimage.find_objects(components)]
    voxels = np.argwhere(inside) + [bounds.start for bounds in box]
    return {
        "voxels": len(voxels),
        "volume_ml": rounded6(len(voxels) * grid.voxel_volume_ml),
        "lesions": int(count),
        "largest_extent_mm": rounded6(np.max(sides)),
        "extent_mm": _extent_mm(box, grid, grid.reordered()[1]),
        "box_mm": _box_mm(box, grid),
        # In a volume of one slice, every slice is at the border.
        "touches_border": any(
            size > 1 and (bounds.start == 0 or bounds.stop == size) for bounds, size in zip(box, mask.shape)
        ),
        "images": {name: _in_mask(voxels, grid, *image) for name, image in images.items()},
    }


def class_facts(codes: np.ndarray, labels: LabelDefinition) -> dict[str, Any]:
    """Numbers of voxels of each class of a label.

    Args:
        codes: of `labels`.
        labels: the classes.

    Returns:
        JSON values: ``classes``, the number of voxels by name, and ``ignored``, if `labels` has an ignored value.
        {} for a plain target, whose only region is the foreground.
    """
    if labels.is_plain:
        return {}
    counts = {name: int(np.count_nonzero(labels.mask(codes, name))) for name in labels.names}
    ignored = labels.ignored(codes)
    return {"classes": counts} | ({} if ignored is None else {"ignored": int(np.count_nonzero(ignored))})


def voxels_outside(codes: np.ndarray, labels: LabelDefinition) -> dict[str, dict[str, int]]:
    """By region and other region, the number of voxels of the first that are not in the second.

    Args:
        codes: of `labels`.
        labels: the regions.
    """
    values, counts = np.unique(codes[labels.any(codes)], return_counts=True)
    inside = labels.masks(values) > 0
    return {
        name: {
            other: int(counts[inside[number] & ~inside[other_number]].sum())
            for other_number, other in enumerate(labels.names)
            if other != name
        }
        for number, name in enumerate(labels.names)
    }


def _in_mask(voxels: np.ndarray, grid: Grid, volume: np.ndarray, image_grid: Grid) -> dict[str, Any]:
    """Statistics of the voxels of an image that are nearest to the voxels of a mask on `grid`."""
    if len(voxels) and not grid.is_close(image_grid):
        matrix = np.linalg.inv(image_grid.affine) @ grid.affine
        # Slightly less than a half: rounding must not move a plane out of an image that is shifted by half a voxel.
        voxels = np.floor(voxels @ matrix[:3, :3].T + matrix[:3, 3] + 0.5 - 1e-6).astype(np.intp)
    inside = np.all((voxels >= 0) & (voxels < image_grid.shape), axis=1)
    values = np.asarray(volume)[tuple(voxels[inside].T)].astype(np.float64)
    if not values.size:
        return {"covered": 0.0, "mean": None, "std": None, "percentiles": None}
    return {
        "covered": rounded6(inside.mean()),
        "mean": rounded6(values.mean()),
        "std": rounded6(values.std()),
        "percentiles": {
            f"{p:g}": rounded6(v) for p, v in zip(LABEL_PERCENTILES, np.percentile(values, LABEL_PERCENTILES))
        },
    }


def _extent_mm(box: tuple[slice, ...], grid: Grid, order: tuple[int, int, int]) -> list[float]:
    sides = [(bounds.stop - bounds.start) * spacing for bounds, spacing in zip(box, grid.spacing_mm)]
    return rounded6([sides[axis] for axis in order])


def _box_mm(box: tuple[slice, ...], grid: Grid) -> list[list[float]]:
    """Two corners, in RAS+ world space, of the axis-aligned box around the edges of the voxels."""
    corners = np.array(list(itertools.product(*((bounds.start - 0.5, bounds.stop - 0.5) for bounds in box))))
    world = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return [rounded6(world.min(axis=0)), rounded6(world.max(axis=0))]


def card(report: CaseReport, *, partition: str, span: int, modalities: tuple[str, ...]) -> Card:
    """The card of a case: its statistics as scalars by name; see `records.case_cards`.

    A feature without a value, e.g. the extent of a missing lesion, is omitted.

    Args:
        report: report of verification, with the label's statistics if the partition has labels.
        partition: partition of the case.
        span: number of the delivery; 0 for no delivery.
        modalities: of the dataset. The lesion is compared with the body in the first modality of the case.
    """
    names = [name for name in modalities if name in report.images]
    features: dict[str, Any] = {}
    for name in names:
        features |= {f"{name}/{key}": value for key, value in _of_image(report.images[name]).items()}
    if report.label is not None:
        features |= _of_label(report.label, report.images[names[0]])
        for name in names:
            inside = report.label["images"].get(name) or {}
            features |= {f"{name}/lesion/{key}": inside.get(key) for key in ("mean", "covered")}
    numbers = {name: float(value) for name, value in features.items() if value is not None}
    return {CASE: report.case_id, PARTITION: partition, SPAN: span, **numbers}


def _of_image(facts: Mapping[str, Any]) -> dict[str, Any]:
    grid = facts["grid"]
    by_axis = {
        f"{key}/{axis}": value for key in ("spacing_mm", "shape", "extent_mm") for axis, value in zip(AXES, grid[key])
    }
    percentiles = {f"p{share}": value for share, value in (facts["percentiles"] or {}).items()}
    of_all = {key: facts[key] for key in ("min", "max", "mean", "std")}
    return {**by_axis, **of_all, **percentiles, "body_fraction": facts["body"]["fraction"]}


def _of_label(label: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    extent = image["grid"]["extent_mm"]
    body_ml = extent[0] * extent[1] * extent[2] / 1000 * image["body"]["fraction"]
    empty = not label["voxels"]
    return {
        "lesion/volume_ml": label["volume_ml"],
        "lesion/count": label["lesions"],
        "lesion/fraction": label["volume_ml"] / body_ml if body_ml else None,
        "lesion/largest_extent_mm": None if empty else label["largest_extent_mm"],
    }
