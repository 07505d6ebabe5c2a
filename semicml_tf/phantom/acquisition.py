"""Simulated acquisition of the ideal image: blur, shading, noise and quantisation."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom.scene import Scene, Texture, world_points

_MM_FWHM_TO_SIGMA = 1 / 2.3548

# Full width at half maximum of the point spread in mm; noise as a fraction of the image's typical level.
_MR_BLUR_MM = {"t1": 2.0, "t1ce": 2.0, "t2": 4.0, "flair": 6.0, "mr": 4.0}
_MR_NOISE = 22.0


def _padded(grid: Grid, voxels: int) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, voxels)
    return Grid(tuple(n + 2 * voxels for n in grid.shape), affine)


def _blurred(scene: Scene, modality: str, grid: Grid, fwhm_mm: float) -> np.ndarray:
    """The scene blurred by a Gaussian point spread. A margin around the grid contributes to the blur."""
    pad = 2
    sigma = fwhm_mm * _MM_FWHM_TO_SIGMA / np.array(grid.spacing_mm)
    padded = ndimage.gaussian_filter(scene.paint(modality, _padded(grid, pad)), sigma, truncate=3.0)
    return padded[pad:-pad, pad:-pad, pad:-pad]


def _shading(rng, grid: Grid) -> np.ndarray:
    """A smooth field that varies over the body, with mean 0 and standard deviation 1 approximately."""
    return Texture.random(rng, (220, 400), count=4).at(world_points(grid)).reshape(grid.shape)


def ct(rng: np.random.Generator, scene: Scene, grid: Grid) -> np.ndarray:
    """CT: sharp, with shading like beam hardening and correlated noise. int16 HU with the shape of the grid."""
    ideal = scene.paint("ct", grid)
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), (0.5, 0.5, 0.3))
    sigma = rng.uniform(11, 16)
    noisy = ideal + 7 * _shading(rng, grid) * (ideal > -500) + sigma * noise / noise.std()
    return np.clip(np.round(noisy), -1024, 3071).astype(np.int16)


def pet(rng: np.random.Generator, scene: Scene, grid: Grid) -> np.ndarray:
    """PET: blurred, with noise that grows with the signal. float32 SUV with the shape of the grid."""
    blurred = _blurred(scene, "pet", grid, rng.uniform(6.0, 7.5))
    blurred *= np.exp(0.06 * _shading(rng, grid))
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), 0.6)
    noisy = blurred + 0.16 * np.sqrt(np.maximum(blurred, 0)) * noise / noise.std()
    return np.maximum(noisy, 0).astype(np.float32)


def mr(rng: np.random.Generator, scene: Scene, grid: Grid, modality: str) -> np.ndarray:
    """MR: bias field, noise, random gain, 0 outside the body or brain. int16 with the shape of the grid."""
    image = _blurred(scene, modality, grid, _MR_BLUR_MM[modality])
    image *= np.exp(0.12 * _shading(rng, grid)) * rng.uniform(0.7, 1.4)
    image += _MR_NOISE * rng.normal(size=grid.shape)
    within = scene.body.shape.distance_mm(world_points(grid)).reshape(grid.shape) < 0
    # The background is exactly 0, so the smallest value within the body is 1.
    return np.where(within, np.clip(np.round(image), 1, 32000), 0).astype(np.int16)
