"""The entry `preprocessing` of `manifest.json`: the steps from a volume to the network and back, for other programs."""

from __future__ import annotations

from typing import Any

from semicml_tf.geometry import patch_tiling, tiling
from semicml_tf.geometry.patch import Patch
from semicml_tf.preprocessing import body_box

_LARGEST = "the class of the largest probability if that is above the background's, 1 - sum; the first of equals"


def _windows(patch: Patch) -> dict[str, Any]:
    """Overlap of windows or patches, and the weights of the mean of overlapping probabilities."""
    if len(patch.spatial) == 3:
        return {
            "padding": "symmetric",
            "overlap": patch_tiling.OVERLAP,
            "weight": "product over the axes of a gaussian about the middle of the patch",
            "sigma_of_side": patch_tiling.SIGMA,
        }
    windows = {
        "padding": "symmetric",
        "overlap": tiling.OVERLAP,
        "weight": "distance in pixels to the nearest border of the window, 1 at the border itself",
    }
    if patch.context_slices:
        # Channel c is the slice at offset `c - slices`. Beyond its ends, the volume is mirrored.
        windows["context"] = {"slices": patch.context_slices, "padding": "symmetric"}
    return windows


def preprocessing_steps(cropped_kind: str | None, *, exclusive: bool = False, patch: Patch) -> dict[str, Any]:
    """The steps from a volume to slices, and from probabilities to a mask. docs/serving.md describes the steps.

    Args:
        cropped_kind: kind of the normalisation if the volume is cropped to the body's box; else None.
        exclusive: whether the classes exclude each other.
        patch: the part of a volume that one input covers.
    """
    background = {None: None, "hu": body_box.BODY_HU, "suv": body_box.BODY_SUV, "percentile": None}
    crop = {
        # None: only 0 is background.
        "background_at_most": background[cropped_kind],
        "block_voxels": 1 if cropped_kind == "percentile" else 2,
        "margin_mm": body_box.MARGIN_MM,
    }
    return {
        # World directions in which the indices of slices, rows and columns grow: head, back, left.
        "orientation": ["S", "P", "L"],
        "grid": {
            "place": "centred on the volume's box, along the volume's own axes",
            "voxels": "max(ceil(size * own_mm / spacing_mm - 0.001), 1)",
        },
        "smoothing": {
            "kind": "gaussian before resampling, along axes that get coarser",
            "sigma_voxels": "0.5 * sqrt((spacing_mm / own_mm) ** 2 - 1)",
            "radius_voxels": "int(3 * sigma + 0.5)",
            "border": "nearest",
        },
        "interpolation": {"kind": "linear", "border": "nearest"},
        "crop": None if cropped_kind is None else crop,
        "normalised_values": "(clip(x, low, high) - center) / scale, rounded to float16",
        "windows": _windows(patch),
        "back": {
            "resampling": "as above, but 0 more than half a voxel beyond the outermost voxels",
            "foreground": _LARGEST if exclusive else "probability >= threshold",
        },
    }
