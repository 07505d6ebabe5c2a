"""One image per case, to check the registration of the modalities and the position of the label.

The first rows show each modality on axial slices. The next rows overlay each further modality on the first one, one of
them in colour, with the outline of the body in both. The last row is a chessboard whose fields alternate between all
modalities. Coronal and sagittal slices of each overlay are beside the rows. Different outlines, colour beside its
structure, and edges that break between fields show a registration error.

If the record has a label, the slices go through the lesions, and all images show their contours. Otherwise, the slices
are spread evenly. Each class has a contour in its own colour.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import threading
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from semicml_tf.geometry import outlines
from semicml_tf.preprocessing.normalisation import Constants
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.system import atomic_files

SLICES = 6
FIELD_MM = 24.0

_PANEL, _SIDE, _GAP, _MARGIN, _TITLE, _FOOT = 200, 320, 6, 26, 44, 30  # pixels
_DPI = 100
_DASH = 5  # pixels
_SAMPLE = 1 << 19  # number of voxels from which the brightness is computed
_LABEL = (0.20, 0.95, 0.25)
# Hues that colour-blind readers can distinguish, also from the green label. Further modalities repeat them.
_OUTLINES = ((0.15, 0.75, 1.0), (1.0, 0.55, 0.1), (0.8, 0.45, 1.0), (1.0, 0.6, 0.75))
_BACKGROUND, _TEXT, _DIM = "#14161a", "#f0f0f0", "#9aa0a8"


# One thread at a time, because the defaults of matplotlib and the warning filters are global.
_DRAWING = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class _Shown:
    """Grey levels of a modality.

    Attributes:
        image: (slices, rows, columns), as in the record.
        low: the smallest value. The other levels are relative to it.
        edge: threshold of the body.
        usual: upper end of normal tissue.
        high: the level of white.
        skewed: whether the square root is drawn, because few voxels are much brighter than all others.
    """

    image: np.ndarray
    low: float
    edge: float
    usual: float
    high: float
    skewed: bool

    @classmethod
    def of(cls, image: np.ndarray, constants: Constants) -> _Shown:
        # A part of the values is enough, and faster.
        sample = image.reshape(-1)[:: image.size // _SAMPLE + 1].astype(np.float32)
        low = float(sample.min())
        lifted = sample - low
        above = lifted[lifted > 0.007 * lifted.max()]
        if not above.size:
            return cls(image, low, 1.0, 1.0, 1.0, False)
        middle, many, most = (float(value) for value in np.percentile(above, [50, 80, 99]))
        # White is the upper end of the network's input range, unless almost all tissue is far below it.
        high = max((constants.high - constants.center) / constants.scale - low, 1e-3)
        skewed = middle < 0.25 * high
        return cls(image, low, 0.25 * middle, middle if skewed else many, most if skewed else high, skewed)

    def brightness(self, values: np.ndarray | float) -> np.ndarray:
        """Brightness from 0 to 1 of values relative to `low`."""
        share = np.clip(np.asarray(values, np.float32) / self.high, 0, 1)
        return np.sqrt(share) if self.skewed else share

    def plane(self, cut: _Cut) -> np.ndarray:
        return self.brightness(cut(self.image).astype(np.float32) - self.low)

    def body(self, cut: _Cut) -> np.ndarray:
        """The silhouette of the body in a slice, without holes and small parts."""
        filled = ndimage.binary_fill_holes(cut(self.image).astype(np.float32) - self.low > self.edge)
        parts, count = ndimage.label(filled)
        if count < 2:
            return filled
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        return (sizes > 0.05 * sizes.max())[parts]


@dataclasses.dataclass(frozen=True)
class _Cut:
    """Extracts a slice in viewing direction: the head is at the top of coronal and sagittal slices."""

    axis: int
    index: int

    def __call__(self, volume: np.ndarray) -> np.ndarray:
        plane = volume[(slice(None),) * self.axis + (self.index,)]
        return plane if self.axis == 0 else plane[::-1]


def write_preview(
    record: CaseRecord, path: pathlib.Path, *, partition: str, names: Sequence[str] | None = None
) -> None:
    """Draws a case. The same record gives the same bytes with the same version of matplotlib.

    Args:
        record: as in the dataset.
        path: of the PNG file.
        partition: of the case, for the title.
        names: the modalities to draw, in this order; None for all of the record. Each is overlaid on the first one.

    Raises:
        UserError: the file cannot be written.
    """
    names = [name for name in names or record.images if name in record.images]
    shown = {name: _Shown.of(record.images[name], record.constants[name]) for name in names}
    sheet = _Sheet(record, shown)
    atomic_files.write_file(path, lambda stream: sheet.write_png(stream, _title(record, partition)))


def slices_to_show(label: np.ndarray | None, count: int, slices: int) -> list[int]:
    """Indices of the axial slices to show, in ascending order.

    With foreground, they are spread from its first slice to its last, and beyond if these are too few. Without
    foreground, they are spread over the volume.

    Args:
        label: (slices, rows, columns), nonzero in the foreground; None without a label.
        count: number of indices, limited by `slices`.
        slices: number of slices of the volume.
    """
    count = min(count, slices)
    foreground = np.flatnonzero(label.any(axis=(1, 2))) if label is not None else np.zeros(0, int)
    if not foreground.size:
        return [int(place) for place in (np.arange(count) + 0.5) / count * slices]
    first, last = int(foreground[0]), int(foreground[-1])
    while last - first + 1 < count:
        first, last = max(first - 1, 0), min(last + 1, slices - 1)
    return [first + int(place) for place in (np.arange(count) + 0.5) / count * (last - first + 1)]


def _title(record: CaseRecord, partition: str) -> str:
    spacing = " x ".join(f"{value:.3g}" for value in record.grid.spacing_mm)
    shape = " x ".join(str(size) for size in record.grid.shape)
    if record.label is None:
        label = "no label read"
    else:
        volume = np.count_nonzero(record.labels.any(record.label)) * record.grid.voxel_volume_ml
        label = f"lesions {volume:.0f} ml" if volume >= 100 else f"lesions {volume:.2g} ml"
        label = label if volume else "label is empty"
    return f"{record.case_id}   |   {partition}   |   {spacing} mm   |   {shape} voxels   |   {label}"


def _classes(record: CaseRecord) -> dict[str, tuple[np.ndarray, tuple[float, ...]]]:
    """Mask and colour of each class, by name in the legend; {} without a label."""
    if record.label is None:
        return {}
    names = record.labels.names
    if len(names) == 1:
        return {"label": (record.labels.mask(record.label, names[0]) != 0, _LABEL)}
    return {
        name: (record.labels.mask(record.label, name) != 0, outlines.class_rgb(number))
        for number, name in enumerate(names)
    }


class _Sheet:
    """Panels on one canvas of pixels, and the text between them."""

    def __init__(self, record: CaseRecord, shown: Mapping[str, _Shown]):
        self.names = list(shown)
        self.shown = shown
        self.label = None if record.label is None else record.labels.any(record.label)
        self.classes = _classes(record)
        self.texts: list[tuple[float, float, str, dict]] = []
        self.colours = dict(zip(self.names, itertools.cycle(_OUTLINES)))
        pairs = [(self.names[0], other) for other in self.names[1:]]
        constants = record.constants
        rows = [
            (
                f"{name}   {constants[name].low:.4g} to {constants[name].high:.4g}"
                + (", square root" if shown[name].skewed else ""),
                lambda look, scale, name=name: _grey(look(name)),
                (),
            )
            for name in self.names
        ]
        overlays = [
            (
                "overlay" if len(pairs) == 1 else f"overlay   {' + '.join(pair)}",
                functools.partial(self._overlay, pair),
                pair,
            )
            for pair in pairs
        ]
        rows += overlays + ([("chessboard", self._chessboard, ())] if pairs else [])
        indices = slices_to_show(self.label, SLICES, record.grid.shape[0])
        sides = _MARGIN + len(indices) * (_PANEL + _GAP)
        bottom = _TITLE + max(len(rows), 2) * (_PANEL + _GAP)  # the coronal and the sagittal slice need two rows
        self.canvas = np.empty((bottom + _FOOT, sides + _SIDE + _GAP, 3), np.float32)
        self.canvas[:] = [int(_BACKGROUND[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        along, back, across = record.grid.spacing_mm
        for row, (title, paint, outlined) in enumerate(rows):
            top = _TITLE + row * (_PANEL + _GAP)
            self._text(_MARGIN / 2, top + _PANEL / 2, title, rotation=90, ha="center", va="center")
            for column, index in enumerate(indices):
                box = (_MARGIN + column * (_PANEL + _GAP), top, _PANEL, _PANEL)
                place, scale = self._draw(box, _Cut(0, index), (back, across), paint, outlined)
                if row == 0:
                    self._text(box[0] + 4, top + 3, f"slice {index + 1}", size=8)
                if row == column == 0:
                    self._text(place[0] + 3, top + _PANEL / 2, "R", color=_DIM, size=8, va="center")
                    self._scale_bar(box, scale)
        views = ((1, "coronal", "RL", (along, across)), (2, "sagittal", "AP", (along, back)))
        beside = list(itertools.product(overlays or rows[:1], views))
        height = (bottom - _TITLE) // len(beside) - _GAP
        for row, ((_, paint, outlined), (axis, title, ends, size_mm)) in enumerate(beside):
            index = self._middle(axis, record.grid.shape[axis])
            top = _TITLE + row * (height + _GAP)
            place, _ = self._draw((sides, top, _SIDE, height), _Cut(axis, index), size_mm, paint, outlined)
            which = f"   {' + '.join(outlined)}" if len(overlays) > 1 else ""
            self._text(sides + 4, top + 3, f"{title} {index + 1}{which}", size=8)
            self._text(place[0] + 3, top + height / 2, ends[0], color=_DIM, size=8, va="center")
            self._text(place[0] + place[2] - 3, top + height / 2, ends[1], color=_DIM, size=8, va="center", ha="right")
        self._legend()

    def _text(self, x: float, y: float, text: str, **style) -> None:
        self.texts.append((x, y, text, {"color": _TEXT, "size": 9, "va": "top", **style}))

    def _draw(self, box, cut, size_mm, paint, outlined: Sequence[str]) -> tuple[tuple[int, int, int, int], float]:
        """Draws a slice into a box of the canvas, in true proportions, with outlines of the body in some modalities.

        Returns:
            The position of the slice (left, top, width, height) in pixels, and the scale in pixels per mm.
        """
        left, top, width, height = box
        extent = np.multiply(cut(self.shown[self.names[0]].image).shape, size_mm)
        scale = float(min(height / extent[0], width / extent[1]))
        pixels = tuple(max(int(round(float(side) * scale)), 1) for side in extent)
        picture = paint(lambda name: _resized(self.shown[name].plane(cut), pixels), scale)
        for name in outlined:
            silhouette = _resized(self.shown[name].body(cut), pixels) >= 0.5
            picture[outlines.border(silhouette, outside=True)] = self.colours[name]
        lines = np.zeros(pixels, bool)
        # Contours alternate where they coincide.
        turns = np.add(*(index // _DASH for index in np.indices(pixels))) % 2 == 0
        for mask, colour in self.classes.values():
            if cut(mask).any():
                line = outlines.border(_resized(cut(mask), pixels) >= 0.5, outside=True)
                picture[line & ~(lines & turns)] = colour
                lines |= line
        top, left = top + (height - pixels[0]) // 2, left + (width - pixels[1]) // 2
        self.canvas[top : top + pixels[0], left : left + pixels[1]] = picture
        return (left, top, pixels[1], pixels[0]), scale

    def _middle(self, axis: int, size: int) -> int:
        """Index of the slice with the largest lesion area, or of the middle slice without a lesion."""
        if self.label is None or not self.label.any():
            return size // 2
        return int(np.argmax(np.count_nonzero(self.label, axis=tuple(other for other in range(3) if other != axis))))

    def _chessboard(self, look, scale: float) -> np.ndarray:
        pictures = [_tinted(look(name), colour) for name, colour in self.colours.items()]
        field = max(FIELD_MM * scale, 8)
        rows, columns = (np.arange(size) // field for size in pictures[0].shape[:2])
        turns = np.add.outer(rows, columns) % len(pictures)
        return np.select([(turns == number)[..., None] for number in range(len(pictures))], pictures)

    def _overlay(self, pair: Sequence[str], look, scale: float) -> np.ndarray:
        """Overlays the bright tissue of one modality in colour. A skewed modality is drawn above the other."""
        below, above = sorted(pair, key=lambda name: self.shown[name].skewed)
        usual = float(self.shown[above].brightness(self.shown[above].usual))
        glow = np.clip((look(above) - usual) / max(1 - usual, 1e-6), 0, 1)
        share = 0.7 * np.sqrt(glow)[..., None]
        return _grey(look(below)) * (1 - share) + share * _heat(0.25 + 0.75 * glow)

    def _scale_bar(self, box: tuple[int, int, int, int], scale: float) -> None:
        left, top, width, height = box
        length_mm = next((mm for mm in (100, 50, 20, 10, 5) if mm * scale <= 0.4 * width), 1)
        end = left + 6 + max(int(length_mm * scale), 1)
        self.canvas[top + height - 8 : top + height - 6, left + 6 : end] = 1
        self._text(end + 4, top + height - 7, f"{length_mm} mm", size=8, va="center")

    def _legend(self) -> None:
        entries = []
        if len(self.names) > 1:
            what = "outline of the body in" if len(self.names) == 2 else "body in"
            entries = [(f"{what} {name}", colour) for name, colour in self.colours.items()]
        entries += [(name, colour) for name, (mask, colour) in self.classes.items() if mask.any()]
        x, y = _MARGIN, self.canvas.shape[0] - _FOOT // 2
        for text, colour in entries:
            self.canvas[y - 1 : y + 2, x : x + 26] = colour
            self._text(x + 32, y, text, va="center")
            x += 60 + 7 * len(text)

    def write_png(self, stream, title: str) -> None:
        # Without pyplot, there is no display and no global state. The style of the user is ignored.
        import matplotlib
        import PIL.Image
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        height, width, _ = self.canvas.shape
        with _DRAWING, warnings.catch_warnings(), matplotlib.rc_context(matplotlib.rcParamsDefault):
            # Letters that the font of matplotlib lacks become boxes. The page shows the full name.
            warnings.filterwarnings("ignore", message="Glyph")
            # Half a pixel is added, because matplotlib truncates to whole pixels, and 0.29 * 100 < 29.
            size = ((width + 0.5) / _DPI, (height + 0.5) / _DPI)
            figure = Figure(figsize=size, dpi=_DPI, facecolor="none")
            texts = [(_MARGIN, _TITLE / 2, title, {"color": _TEXT, "size": 12, "va": "center"}), *self.texts]
            for x, y, text, style in texts:
                # No TeX: the name of a case may contain $.
                figure.text(x / width, 1 - y / height, text, parse_math=False, **style)
            agg = FigureCanvasAgg(figure)
            agg.draw()
            letters = np.asarray(agg.buffer_rgba(), np.float32)[:height, :width] / 255
        # The text is blended here, because matplotlib would resample the canvas, which is slow. Its PNG files would
        # also contain its version.
        alpha = letters[..., 3:]
        blended = np.clip(self.canvas, 0, 1) * (1 - alpha) + letters[..., :3] * alpha
        PIL.Image.fromarray(np.round(255 * blended).astype(np.uint8)).save(stream, format="png", compress_level=4)


def _resized(plane: np.ndarray, pixels: tuple[int, int]) -> np.ndarray:
    factors = [target / size for target, size in zip(pixels, plane.shape)]
    return np.clip(ndimage.zoom(plane.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True), 0, 1)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def _tinted(values: np.ndarray, colour) -> np.ndarray:
    """From black through `colour` to white."""
    return _grey(values) * (0.55 + 0.45 * np.array(colour, np.float32))


def _heat(values: np.ndarray) -> np.ndarray:
    """Black, red, yellow, white."""
    return np.stack([np.clip(3 * values - shift, 0, 1) for shift in (0, 1, 2)], axis=-1)
