"""A picture for a person: written masks over their image, in three planes.

Image and masks are read from their files, and each is placed by its own affine: what lies beside the image here lies
beside it in a viewer, too.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.source import NiftiFile, Source
from semicml_tf.geometry import outlines
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.inference.inputs import NIFTI_ENDINGS
from semicml_tf.inference.outputs import Outputs
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.system import atomic_files

# Of the classes, in their order; after the last, the first again.
_COLOURS = ("#ff5a1f", "#29b6f6", "#ffd21f", "#7ce577", "#d783ff", "#ff8fb1", "#4de0d0", "#c0a060")
# A class is drawn from the file of this path where the file has this value; None: where it is not 0.
Masks = Mapping[str, tuple[pathlib.Path, int | None]]
_PLANES = ("axial", "coronal", "sagittal")


def check(path: pathlib.Path, mask: pathlib.Path) -> None:
    """Refuses what cannot be drawn before any work is done.

    Raises:
        UserError: the picture is to be no PNG, or the mask is no NIfTI file.
    """
    if path.suffix.lower() != ".png":
        raise UserError("expected a name that ends in .png", path=path, remedy="Correct --overlay")
    if not mask.name.endswith(NIFTI_ENDINGS):
        raise UserError("--overlay draws masks in NIfTI", path=mask, remedy="Name a .nii.gz output, or leave it out")


def masks_of(outputs: Outputs) -> Masks:
    """Where the masks of a case's outputs lie, by class."""
    labels = outputs.labels
    if labels.exclusive:
        return {name: (outputs.mask, values[0]) for name, values in labels.classes.items()}
    return {name: (path, None) for name, path in zip(labels.names, outputs.masks().values())}


def write(path: pathlib.Path, image: Source, masks: Masks, normalisation: Normalisation, title: str) -> None:
    """Draws the planes that hold the most of the masks; through the middle where all are empty.

    Args:
        path: of the PNG.
        image: the volume in native units.
        masks: of the classes, each with a colour of its own.
        normalisation: of the image's modality; its window is what is shown.
        title: above the picture.

    Raises:
        UserError: a file cannot be read, or the picture not be written.
    """
    array, own = image.read_volume()
    # Slices feet to head, rows front to back, columns right to left, with the image's own spacing.
    grid = own.for_network((0.0, 0.0, 0.0))
    shown = resample(array, own, grid)
    drawn = {}
    for name, (place, value) in masks.items():
        label, label_grid = NiftiFile(place).read_label()
        drawn[name] = resample_mask(label != 0 if value is None else label == value, label_grid, grid) != 0
    together = np.logical_or.reduce(list(drawn.values()))
    constants = normalisation.constants(array)
    cuts = []
    for axis in range(3):
        area = np.count_nonzero(together, axis=tuple(other for other in range(3) if other != axis))
        index = int(np.argmax(area)) if area.any() else grid.shape[axis] // 2
        height, width = (grid.spacing_mm[other] for other in range(3) if other != axis)
        planes = [np.take(volume, index, axis) for volume in (shown, *drawn.values())]
        # Head up where the slices are the picture's rows.
        image_plane, *mask_planes = [plane[::-1] for plane in planes] if axis else planes
        cuts.append((image_plane, mask_planes, height / width))
    window = (constants.low, constants.high)
    atomic_files.write_file(path, lambda stream: _draw(stream, cuts, window, title, list(drawn)))


def _draw(stream, cuts, shown: tuple[float, float], title: str, names: Sequence[str]) -> None:
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(names))]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name, (image, masks, aspect) in zip(figure.subplots(1, len(cuts)), _PLANES, cuts):
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
        axes.imshow(image, cmap="gray", vmin=shown[0], vmax=shown[1], aspect=aspect)
        for mask, colour in zip(masks, colours):
            if mask.any():
                axes.imshow(np.ma.masked_equal(mask, False), cmap=ListedColormap([colour]), alpha=0.3, aspect=aspect)
                outlines.draw(axes, mask, colour, linewidths=1.4)
    if len(names) > 1:
        patches = [Patch(color=colour, label=name) for name, colour in zip(names, colours)]
        figure.legend(handles=patches, loc="outside lower center", ncols=min(len(names), 8), fontsize=9)
    figure.suptitle(title, fontsize=10)
    figure.savefig(stream, format="png", dpi=100)
