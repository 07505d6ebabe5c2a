"""A sound case of CT, PET and label, to be spoilt by the tests of verification."""

import dataclasses
import pathlib

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile
from semicml_tf.geometry.grid import Grid
from tests.support import image_folders

SHAPE = (24, 24, 12)
AFFINE = np.array([[-4.0, 0, 0, 46], [0, -4, 0, 46], [0, 0, 4, -22], [0, 0, 0, 1]])
GRID = Grid(SHAPE, AFFINE)


def settings(modalities=("ct", "pet"), **changes):
    parsed = Settings.parse(
        modalities=modalities,
        reference_modality="",
        spacing_mm=(0, 0, 0),
        normalisation=(),
        label_values=(1,),
        background_values=(0,),
        allow_empty_labels=False,
    )
    return dataclasses.replace(parsed, **changes)


def ball(radius_mm, centre_mm=(0, 0, 0), grid=GRID):
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    world = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return np.linalg.norm(world - centre_mm, axis=-1) <= radius_mm


def body(grid=GRID):
    index = np.moveaxis(np.indices(grid.shape), 0, -1)
    world = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return np.linalg.norm(world[..., :2], axis=-1) <= 32


def ct(grid=GRID, seed=0):
    noise = np.random.default_rng(seed).integers(-20, 20, grid.shape)
    return (np.where(body(grid), 40, -1000) + noise).astype(np.int16)


def pet(grid=GRID, seed=0, lesion_mm=(12, 0, 0)):
    noise = np.random.default_rng(seed + 100).uniform(0, 0.2, grid.shape)
    return (0.6 * body(grid) + 6.0 * ball(10, lesion_mm, grid) + noise).astype(np.float32)


def label(lesion_mm=(12, 0, 0)):
    return ball(10, lesion_mm).astype(np.uint8)


def write(folder, name="P1", *, seed=0, **arrays):
    """Writes the case; `arrays` replaces `ct`, `pet` or `label` by an array or (array, affine)."""
    folder = pathlib.Path(folder)
    held = {"ct": ct(seed=seed), "pet": pet(seed=seed), "label": label(), **arrays}
    for what, array in held.items():
        array, affine = array if isinstance(array, tuple) else (array, AFFINE)
        # The sform alone: a qform cannot hold shear.
        image_folders.write(folder / f"{name}_{what}.nii.gz", array, affine, qform=False)
    source = {what: NiftiFile(folder / f"{name}_{what}.nii.gz") for what in held}
    label_source = source.pop("label")
    return CaseFiles(case_id=name, images=source, label=label_source)
