"""Small pictures of a patient's slice: modalities with outlines, disagreement of the networks, and uncertainty.

With several classes, each class has a colour. Truth is a solid line, and the prediction is a dashed line. Maps of
disagreement and uncertainty show the largest value of all classes.
"""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np

from semicml_tf.evaluation import case_images
from semicml_tf.geometry import outlines
from semicml_tf.reporting.kept_images import KeptCase

# Approximate pixels of a picture's longer side.
_SIDE = 240
_QUALITY = 82
TRUTH, PREDICTION = (34, 211, 74), (255, 106, 26)
_WHITE = (255, 255, 255)
_DASH = 4  # pixels
# Colours from 0 to 1 with rising lightness: dark violet, red, light yellow.
_HEAT = np.array([(8, 6, 30), (74, 16, 106), (158, 42, 99), (229, 92, 48), (250, 175, 60), (252, 250, 190)], np.float32)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        title: below the picture.
        alternative: text for screen readers.
        uri: data URI of the picture.
        width, height: in pixels.
    """

    title: str
    alternative: str
    uri: str
    width: int
    height: int


def entropy_bits(probability: np.ndarray) -> np.ndarray:
    """``-p log2 p - (1 - p) log2 (1 - p)`` of probabilities of any shape: 0 for p = 0 or 1, and 1 for p = 0.5."""
    p = np.clip(np.asarray(probability, np.float64), 1e-12, 1 - 1e-12)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def heat(values: np.ndarray) -> np.ndarray:
    """Values of 0 to 1, (rows, columns), as colours (rows, columns, 3) uint8."""
    places = np.clip(np.asarray(values, np.float64), 0, 1) * (len(_HEAT) - 1)
    below = np.minimum(places.astype(int), len(_HEAT) - 2)
    share = (places - below)[..., None]
    return np.rint(_HEAT[below] * (1 - share) + _HEAT[below + 1] * share).astype(np.uint8)


def _enlarged(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (rows, columns) interpolated to `size` (columns, rows)."""
    from PIL import Image

    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BILINEAR))


def _jpeg(pixels: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _stretched(image: np.ndarray) -> np.ndarray:
    """Stretches the grey values of a slice to its range. Most PET voxels are far below the maximum."""
    low, high = np.percentile(image, (0.5, 99.7))
    if high <= low:
        return image
    scaled = (image.astype(np.float32) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def class_colour(number: int) -> tuple[int, int, int]:
    """The colour of a class by its number from 0, as red, green and blue from 0 to 255."""
    red, green, blue = (round(255 * share) for share in outlines.class_rgb(number))
    return red, green, blue


def _as_scored(threshold: float | None, soft: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 values of at least 128 exactly in the mask. They follow the probabilities where both agree."""
    if threshold is None:  # exclusive classes: the border is no level of a single map
        return (mask != 0).astype(np.uint8) * 255
    cut = min(max(threshold * 255.0, 0.5), 254.5)
    values = soft.astype(np.float32)
    values = np.where(values >= cut, 128 + 127 * (values - cut) / (255 - cut), 127 * values / cut)
    return np.rint(np.where(mask != 0, np.maximum(values, 128), np.minimum(values, 127))).astype(np.uint8)


class _Slice:
    """Draws the arrays of a slice as pictures of equal size."""

    def __init__(self, case: KeptCase, arrays: dict[str, np.ndarray], index: int):
        self._case, self._arrays = case, arrays
        self._ends = case.suffixes
        truths = [arrays[f"truth{end}"] for end in self._ends]
        rows, columns = truths[0].shape
        physical = (columns, rows * case.pixel_aspect)
        scale = max(1.0, _SIDE / max(physical))
        self._size = max(1, round(physical[0] * scale)), max(1, round(physical[1] * scale))
        self._truths = [
            outlines.border(_enlarged((truth != 0).astype(np.uint8) * 255, self._size) >= 128) for truth in truths
        ]
        self._where = f"slice {index + 1} of {case.slices}"
        # By modality, (classes, rows, columns).
        self.soft = {
            name: np.stack([arrays[f"probability-{number}{end}"] for end in self._ends])
            for name, number in case.modalities.items()
        }

    def _picture(self, title: str, alternative: str, pixels: np.ndarray) -> Picture:
        return Picture(title, f"{self._case.case_id}, {self._where}: {alternative}", _jpeg(pixels), *self._size)

    def modality(self, name: str, title: str) -> Picture:
        """The image in grey, with outlines of the truth and of the scored mask."""
        number = self._case.modalities[name]
        grey = _enlarged(_stretched(self._arrays[f"image-{number}"]), self._size)
        pixels = np.repeat(grey[..., None], 3, axis=2)
        cuts = self._case.thresholds[name]
        dashes = np.add(*(index // _DASH for index in np.indices(grey.shape))) % 2 == 0
        for place, (class_name, end, truth, soft) in enumerate(
            zip(self._case.classes or ("",), self._ends, self._truths, self.soft[name])
        ):
            mask = _as_scored(cuts.get(class_name), soft, self._arrays[f"mask-{number}{end}"])
            border = outlines.border(_enlarged(mask, self._size) >= 128)
            several = bool(self._case.classes)
            pixels[truth] = class_colour(place) if several else TRUTH
            if several:
                # Dark gaps keep the dashes visible where both lines coincide.
                pixels[border & ~dashes & truth] = 0
                pixels[border & dashes] = class_colour(place)
            else:
                pixels[border] = PREDICTION
        return self._picture(title, f"{name} with the contours of truth and prediction", pixels)

    def map(self, title: str, alternative: str, values: np.ndarray) -> Picture:
        """The maximum over classes of values (classes, rows, columns) in [0, 1] as colours, with outlines of truth."""
        pixels = heat(_enlarged(np.rint(values.max(axis=0) * 255).astype(np.uint8), self._size) / 255.0)
        for truth in self._truths:
            pixels[truth] = _WHITE if self._case.classes else TRUTH
        return self._picture(title, alternative, pixels)


def pictures(case: KeptCase) -> list[Picture]:
    """The pictures of a patient; [] if the slice cannot be read."""
    arrays = case.slice()
    if arrays is None:
        return []
    shown = _Slice(case, arrays, case.slice_index)
    made = [shown.modality(name, name) for name in case.modalities]
    if len(shown.soft) > 1:
        soft = np.stack([array.astype(np.float32) / 255 for array in shown.soft.values()])
        what = f"where the networks of {' and '.join(shown.soft)} disagree"
        made.append(shown.map("disagreement", what, np.ptp(soft, axis=0)))
    for name, array in shown.soft.items():
        what = f"entropy of the probabilities of the {name} network"
        made.append(shown.map(f"uncertainty {name}", what, entropy_bits(array / 255.0)))
    errors = None if case.error_slice_index is None else case.slice(case_images.ERRORS)
    if errors is not None:
        worst = _Slice(case, errors, case.error_slice_index)
        place = f"slice {case.error_slice_index + 1}, most errors"
        made += [worst.modality(name, f"{name}, {place}") for name in case.modalities]
    return made
