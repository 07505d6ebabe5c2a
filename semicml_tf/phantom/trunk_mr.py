"""The trunk in MR (arbitrary units). Lesions have more contrast than in CT, and less than in PET."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.phantom.lesions import Placement
from semicml_tf.phantom.scene import Look, Part, Scene
from semicml_tf.phantom.shapes import Blob

NAME = "mr"

_LEAN = 300.0
# Fat and fluid are brighter than any lesion. Gas and cortical bone are darker than all tissue.
_LOOKS = {
    "body": Look(700, 20),
    "lean": Look(_LEAN, 20, edge_mm=3),
    "gas": Look(20, edge_mm=2),
    "spine": Look(360, 25, rim=110, rim_mm=3),
    "reservoir": Look(1050, 8),
    "heart": Look(330, 12),
    "duct": Look(320, 10),
    "brown fat": Look(680, 20),
    "calcified node": Look(290, 10, rim=110, rim_mm=3),
    "contrast": Look(320, 10),
    "benign node": Look(330, 8),
    "cyst": Look(1000, 8),
}


def mimics(rng: np.random.Generator, placement: Placement) -> list[Part]:
    """Structures as bright as a lesion in MR, but smooth. CT and PET show normal tissue there."""
    parts = []
    for _ in range(rng.integers(1, 4)):
        radius, level = rng.uniform(9, 17), _LEAN + rng.uniform(110, 180)
        centre = placement.draw(radius, margin_mm=8)
        if centre is not None:
            shape = Blob.random(rng, centre, radius * rng.uniform(0.75, 1.2, 3), depth=0.04)
            parts.append(Part("inflammation", shape, {NAME: Look(level, 8)}))
    return parts


def with_mr(rng: np.random.Generator, scene: Scene) -> Scene:
    """Adds the look of each part in MR. Other modalities do not change."""
    return dataclasses.replace(
        scene,
        body=_with_look(rng, scene.body),
        parts=[_with_look(rng, part) for part in scene.parts],
        outside={**scene.outside, NAME: 0.0},
    )


def _with_look(rng, part: Part) -> Part:
    if NAME in part.looks:
        return part
    if part.label is not None:
        look = Look(_LEAN + rng.uniform(110, 180), 30, edge_mm=2)
    elif part.name == "organ":
        look = Look(rng.uniform(240, 380), 18, edge_mm=3)
    else:
        look = _LOOKS[part.name]
    return dataclasses.replace(part, looks={**part.looks, NAME: look})
