"""What a scanner makes of the ideal image: blur, shading, noise and stored numbers."""

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
    """The scene as seen by a Gaussian point spread; painted with a margin, since light comes from outside, too."""
    pad = 2
    sigma = fwhm_mm * _MM_FWHM_TO_SIGMA / np.array(grid.spacing_mm)
    whole = ndimage.gaussian_filter(scene.paint(modality, _padded(grid, pad)), sigma, truncate=3.0)
    return whole[pad:-pad, pad:-pad, pad:-pad]


def _shading(rng, grid: Grid) -> np.ndarray:
    """A field that varies over the whole body, mean about 0, standard deviation about 1."""
    return Texture.random(rng, (220, 400), count=4).at(world_points(grid)).reshape(grid.shape)


def ct(rng: np.random.Generator, scene: Scene, grid: Grid) -> np.ndarray:
    """CT: sharp, with beam-hardening-like shading and correlated noise. int16 HU of the grid's shape."""
    ideal = scene.paint("ct", grid)
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), (0.5, 0.5, 0.3))
    sigma = rng.uniform(11, 16)
    noisy = ideal + 7 * _shading(rng, grid) * (ideal > -500) + sigma * noise / noise.std()
    return np.clip(np.round(noisy), -1024, 3071).astype(np.int16)


def pet(rng: np.random.Generator, scene: Scene, grid: Grid) -> np.ndarray:
    """PET: blurred, on a coarse grid, noise that grows with the signal. float32 SUV of the grid's shape."""
    blurred = _blurred(scene, "pet", grid, rng.uniform(6.0, 7.5))
    blurred *= np.exp(0.06 * _shading(rng, grid))
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), 0.6)
    noisy = blurred + 0.16 * np.sqrt(np.maximum(blurred, 0)) * noise / noise.std()
    return np.maximum(noisy, 0).astype(np.float32)


def mr(rng: np.random.Generator, scene: Scene, grid: Grid, modality: str) -> np.ndarray:
    """MR: bias field, noise, a gain of its own, 0 outside the body or the brain. int16 of the grid's shape."""
    image = _blurred(scene, modality, grid, _MR_BLUR_MM[modality])
    image *= np.exp(0.12 * _shading(rng, grid)) * rng.uniform(0.7, 1.4)
    image += _MR_NOISE * rng.normal(size=grid.shape)
    within = scene.body.shape.distance_mm(world_points(grid)).reshape(grid.shape) < 0
    # The background is exactly 0, so the least value within the body is 1.
    return np.where(within, np.clip(np.round(image), 1, 32000), 0).astype(np.int16)
