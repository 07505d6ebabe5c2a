"""A trunk in CT (HU) and PET (SUV): organs, bone, lesions, and structures that mimic a lesion in one modality."""

from __future__ import annotations

import numpy as np

from semicml_tf.phantom import lesions, trunk_mr
from semicml_tf.phantom.lesions import Placement
from semicml_tf.phantom.scan import Scan
from semicml_tf.phantom.scene import Look, Part, Scene, Texture
from semicml_tf.phantom.shapes import Blob, Tube

_LESION_RADII_MM = (14.0, 26.0)


def trunk(rng: np.random.Generator, scan: Scan, *, empty: bool, mr_rng: np.random.Generator | None = None) -> Scene:
    """A patient at a random position in the field of view.

    Args:
        rng: source of randomness of body, CT and PET.
        scan: the field of view.
        empty: whether the patient has no lesion.
        mr_rng: source of randomness of MR; None for a patient without MR. CT and PET do not depend on it.
    """
    offset = rng.uniform(-1, 1, 3) * (30, 30, 20)
    centre = scan.centre + offset
    body = Blob.random(rng, centre, rng.uniform((78, 66, 260), (108, 92, 320)), depth=0.02, tilt_degrees=8.0)
    activity = rng.uniform(0.85, 1.2)  # of the whole patient: dose, weight and time since injection
    placement = Placement(rng, scan, body)
    spine = Tube.random(rng, centre + (rng.uniform(-12, 12), -0.55 * body.radii[1], 0), rng.uniform(11, 16))
    for height in np.arange(-200, 201, 12):
        placement.reserve(spine.centre + (*(spine.slope * height), height), spine.radius)
    masses = [] if empty else lesions.draw(rng, placement, _LESION_RADII_MM)
    parts = [*_fat(rng, body, activity), *_organs(rng, scan, activity), _spine(spine, activity)]
    parts += [*_pet_mimics(rng, placement, activity), *_ct_mimics(rng, placement, activity)]
    parts += trunk_mr.mimics(mr_rng, placement.continued(mr_rng)) if mr_rng else []
    parts += [_lesion(rng, shape, activity) for shape in masses]
    scene = Scene(
        Part("body", body, {"ct": Look(-95, 6), "pet": Look(0.4 * activity, 0.05)}),
        parts,
        {"ct": -1000.0, "pet": 0.0},
        Texture.random(rng, (9, 26)),
    )
    return trunk_mr.with_mr(mr_rng, scene) if mr_rng else scene


def _lesion(rng, shape, activity: float) -> Part:
    contrast = rng.uniform(28, 46)
    uptake = rng.uniform(4.5, 7.0) * activity
    # Mottled in CT, unlike the mimics, which are smooth. Only CT resolves this detail.
    return Part(
        "lesion", shape, {"ct": Look(42 + contrast, 11, edge_mm=2), "pet": Look(uptake, 0.12 * uptake)}, label=1
    )


def _fat(rng, body: Blob, activity: float) -> list[Part]:
    """Lean tissue within a layer of fat."""
    thickness = rng.uniform(4, 12)
    inner = Blob(body.centre, body.radii - thickness, body.rotation, body.waves, body.phases, body.depth)
    return [Part("lean", inner, {"ct": Look(42, 9, edge_mm=3), "pet": Look(1.0 * activity, 0.15, edge_mm=3)})]


def _organs(rng, scan: Scan, activity: float) -> list[Part]:
    """Large organs with low contrast, and gas. Later parts may cover them."""
    parts = []
    for _ in range(rng.integers(2, 5)):
        shape = Blob.random(rng, scan.random_point(rng, 10), rng.uniform(22, 48, 3), depth=0.06)
        hu, suv = rng.uniform(22, 58), rng.uniform(0.8, 2.2) * activity
        parts.append(Part("organ", shape, {"ct": Look(hu, 7, edge_mm=3), "pet": Look(suv, 0.15, edge_mm=3)}))
    for _ in range(rng.integers(0, 3)):
        shape = Blob.random(rng, scan.random_point(rng), rng.uniform(9, 20, 3), depth=0.08)
        parts.append(Part("gas", shape, {"ct": Look(-850, 20, edge_mm=2), "pet": Look(0.5 * activity, 0.05)}))
    return parts


def _spine(shape: Tube, activity: float) -> Part:
    return Part("spine", shape, {"ct": Look(190, 35, rim=520, rim_mm=3), "pet": Look(1.5 * activity, 0.2)})


def _pet_mimics(rng, placement: Placement, activity: float) -> list[Part]:
    """Uptake outside lesions. CT shows normal tissue, fat or fluid there."""
    parts = []

    def add(name, radius, shape_of, ct, pet):
        centre = placement.draw(radius, depth_mm=0.5 * radius, margin_mm=8)
        if centre is not None:
            parts.append(Part(name, shape_of(centre), {"ct": ct, "pet": pet}))

    def upright(centre, radii, depth):
        return Blob.random(rng, centre, radii, depth=depth, tilt_degrees=15.0)

    # Long from feet to head: in axial slices, the blurred end of a hot organ would look like a lesion.
    for _ in range(1 + (rng.random() < 0.3)):  # full bladder or bowel: smooth, and hotter than any lesion
        radius, suv = rng.uniform(17, 28), rng.uniform(14, 18) * activity
        radii = radius * rng.uniform((0.8, 0.8, 3.5), (1.15, 1.15, 5))
        add("reservoir", radius, lambda c, r=radii: upright(c, r, 0.02), Look(8, 3), Look(suv))
    if rng.random() < 0.5:  # heart muscle: as hot as a lesion, hollow
        radius, suv = rng.uniform(24, 32), rng.uniform(4.5, 7.5) * activity
        radii = radius * rng.uniform((0.85, 0.85, 2.5), (1.1, 1.1, 4))
        look = Look(1.2 * activity, rim=suv, rim_mm=rng.uniform(7, 9))
        add("heart", radius, lambda c: upright(c, radii, 0.03), Look(50, 8), look)
    for _ in range(rng.integers(0, 3)):  # ureters, vessels, bowel: thin
        radius, suv = rng.uniform(3.5, 5), rng.uniform(5, 8) * activity
        add("duct", 12.0, lambda c, r=radius: Tube.random(rng, c, r), Look(38, 5), Look(suv))
    if rng.random() < 0.25:  # brown fat: a layer with the uptake of a lesion, but fat in CT
        suv, radii = rng.uniform(3.5, 5.0) * activity, rng.uniform((4, 20, 30), (6, 30, 45))
        add("brown fat", 22.0, lambda c: upright(c, radii, 0.05), Look(-85, 12), Look(suv, 0.3))
    return parts


def _ct_mimics(rng, placement: Placement, activity: float) -> list[Part]:
    """Density of lesions outside lesions. PET shows normal tissue there."""
    parts = []
    normal_pet = Look(1.1 * activity, 0.1)

    def add(name, ct, radii_mm):
        radius = rng.uniform(*radii_mm)
        centre = placement.draw(radius, margin_mm=8)
        if centre is not None:
            shape = Blob.random(rng, centre, radius * rng.uniform(0.75, 1.2, 3), depth=0.04)
            parts.append(Part(name, shape, {"ct": ct, "pet": normal_pet}))

    for _ in range(rng.integers(1, 3)):  # the density of a lesion within a calcified rim
        add("calcified node", Look(rng.uniform(70, 95), 4, rim=rng.uniform(220, 380), rim_mm=3), (10, 19))
    for _ in range(rng.integers(1, 4)):  # contrast medium in vessels and bowel: smooth and brighter
        add("contrast", Look(rng.uniform(135, 210), 3), (12, 26))
    if rng.random() < 0.3:  # a node that differs from a lesion in CT only by its smoothness and round shape
        add("benign node", Look(rng.uniform(65, 85), 2), (9, 14))
    for _ in range(rng.integers(1, 3)):
        add("cyst", Look(rng.uniform(-5, 12), 3), (10, 20))
    return parts
