"""A skull-stripped head in four MR contrasts: oedema, core and enhancing tumour, and structures that mimic them."""

from __future__ import annotations

import numpy as np

from semicml_tf.phantom import lesions
from semicml_tf.phantom.lesions import Placement
from semicml_tf.phantom.scan import Scan
from semicml_tf.phantom.scene import Look, Part, Scene, Texture
from semicml_tf.phantom.shapes import Blob, Lobes, Tube

MODALITIES = ("t1", "t1ce", "t2", "flair")
NECROSIS, OEDEMA, ENHANCING = 1, 2, 4  # label values of BraTS; their union is the whole tumour

_LESION_RADII_MM = (14.0, 25.0)


def _looks(t1, t1ce, t2, flair, mottle=25.0, edge_mm=2.0) -> dict[str, Look]:
    return {name: Look(level, mottle, edge_mm=edge_mm) for name, level in zip(MODALITIES, (t1, t1ce, t2, flair))}


def head(rng: np.random.Generator, scan: Scan, *, empty: bool) -> Scene:
    """A patient at a random position in the field of view; `empty` for no tumour."""
    centre = scan.centre + rng.uniform(-1, 1, 3) * (28, 28, 20)
    brain = Blob.random(rng, centre, rng.uniform((66, 78, 62), (80, 94, 76)), depth=0.015, tilt_degrees=8.0)
    placement = Placement(rng, scan, brain)
    masses = [] if empty else lesions.draw(rng, placement, _LESION_RADII_MM)
    white = Blob(brain.centre, brain.radii - 14, brain.rotation, brain.waves * 2.5, brain.phases, 0.06)
    parts = [Part("white matter", white, _looks(620, 640, 330, 400, edge_mm=4))]
    parts += _ventricles(rng, brain) + _mimics(rng, placement)
    for mass in masses:
        parts += _tumour(rng, mass)
    return Scene(
        Part("grey matter", brain, _looks(480, 500, 450, 480)),
        parts,
        dict.fromkeys(MODALITIES, 0.0),
        Texture.random(rng, (9, 26)),
    )


def _shrunk(shape: Lobes, factor: float) -> Lobes:
    """`shape` with smaller lobes at the same positions."""
    return Lobes(tuple(Blob(b.centre, b.radii * factor, b.rotation, b.waves, b.phases, b.depth) for b in shape.blobs))


def _tumour(rng, shape: Lobes) -> list[Part]:
    bright = rng.uniform(0.85, 1.15)
    core = _shrunk(shape, rng.uniform(0.5, 0.65))
    # Oedema has high contrast in FLAIR and T2. In T1 and T1ce, it is slightly dark.
    oedema = _looks(425, 440, 430 + 230 * bright, 440 + 270 * bright, mottle=35)
    enhancing = _looks(430, 650 + 320 * bright, 640, 690, mottle=35)
    necrosis = _looks(330, 380, 820, 560, mottle=35)
    return [
        Part("oedema", shape, oedema, label=OEDEMA),
        Part("enhancing tumour", core, enhancing, label=ENHANCING),
        Part("necrosis", _shrunk(core, 0.55), necrosis, label=NECROSIS),
    ]


def _ventricles(rng, brain: Blob) -> list[Part]:
    """Fluid, dark in T1, T1ce and FLAIR, and brighter than any tumour in T2."""
    fluid = _looks(180, 190, 1050, 130, mottle=8)
    parts = []
    for side in (-1, 1):
        place = brain.centre + (side * rng.uniform(9, 13), rng.uniform(-8, 8), rng.uniform(-6, 12))
        shape = Blob.random(rng, place, (rng.uniform(5, 8), rng.uniform(24, 32), rng.uniform(9, 14)), tilt_degrees=12.0)
        parts.append(Part("ventricle", shape, fluid))
    return parts


def _mimics(rng, placement: Placement) -> list[Part]:
    """Structures without tumour that are bright, or dark, in one contrast."""
    parts = []
    kinds = {
        "cyst": (_looks(190, 200, 1000, 150, mottle=8), (12, 22)),  # bright in T2 only
        "epidermoid": (_looks(300, 310, 560, 1150, mottle=8), (12, 22)),  # brighter than any tumour in FLAIR
        "meningioma": (_looks(500, 1150, 460, 500, mottle=10), (8, 14)),  # bright in T1ce only
        "old infarct": (_looks(400, 410, 440, 480, mottle=10), (9, 15)),  # dark in T1 only
        "gliosis": (_looks(480, 500, 470, 760, mottle=10), (6, 10)),  # bright in FLAIR only
    }
    for name, (looks, radii) in kinds.items():
        for _ in range(rng.integers(1, 3)):
            radius = rng.uniform(*radii)
            centre = placement.draw(radius)
            if centre is not None:
                shape = Blob.random(rng, centre, radius * rng.uniform(0.75, 1.2, 3), depth=0.04)
                parts.append(Part(name, shape, looks))
    for _ in range(rng.integers(1, 4)):
        centre = placement.draw(6.0)
        if centre is not None:
            parts.append(Part("vessel", Tube.random(rng, centre, rng.uniform(2, 3.5)), {"t1ce": Look(1100)}))
    return parts
