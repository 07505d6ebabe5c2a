"""A picture for a person: a written mask over its image, in three planes.

Image and mask are read from their files, and each is placed by its own affine: what lies beside the image here lies
beside it in a viewer, too.
"""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.source import NiftiFile, Source
from semicml_tf.geometry import outlines
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.inference.inputs import NIFTI_ENDINGS
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.system import atomic_files

_COLOUR = "#ff5a1f"
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


def write(path: pathlib.Path, image: Source, mask: pathlib.Path, normalisation: Normalisation, title: str) -> None:
    """Draws the planes that hold the most of the mask; through the middle where it is empty.

    Args:
        path: of the PNG.
        image: the volume in native units.
        mask: a NIfTI file, 0/1.
        normalisation: of the image's modality; its window is what is shown.
        title: above the picture.

    Raises:
        UserError: a file cannot be read, or the picture not be written.
    """
    array, own = image.read_volume()
    label, label_grid = NiftiFile(mask).read_label()
    # Slices feet to head, rows front to back, columns right to left, with the image's own spacing.
    grid = own.for_network((0.0, 0.0, 0.0))
    shown = resample(array, own, grid)
    drawn = resample_mask(label != 0, label_grid, grid) != 0
    constants = normalisation.constants(array)
    cuts = []
    for axis in range(3):
        area = np.count_nonzero(drawn, axis=tuple(other for other in range(3) if other != axis))
        index = int(np.argmax(area)) if area.any() else grid.shape[axis] // 2
        height, width = (grid.spacing_mm[other] for other in range(3) if other != axis)
        cut = [np.take(volume, index, axis) for volume in (shown, drawn)]
        # Head up where the slices are the picture's rows.
        cuts.append(([plane[::-1] for plane in cut] if axis else cut, height / width))
    atomic_files.write_file(path, lambda stream: _draw(stream, cuts, (constants.low, constants.high), title))


def _draw(stream, cuts, shown: tuple[float, float], title: str) -> None:
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name, ((image, mask), aspect) in zip(figure.subplots(1, len(cuts)), _PLANES, cuts):
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
        axes.imshow(image, cmap="gray", vmin=shown[0], vmax=shown[1], aspect=aspect)
        if mask.any():
            axes.imshow(np.ma.masked_equal(mask, False), cmap=ListedColormap([_COLOUR]), alpha=0.3, aspect=aspect)
            outlines.draw(axes, mask, _COLOUR, linewidths=1.4)
    figure.suptitle(title, fontsize=10)
    figure.savefig(stream, format="png", dpi=100)
