"""The options of a phantom."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.phantom.writers import LAYOUTS

_HEADS = ", ".join(name for name, layout in LAYOUTS.items() if layout.body == "head")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """How phantom patients are made; see the help of each option."""

    output: str = option(help="Folder to make.", path=True)
    cases: int = option(40, "Number of patients.", low=1)
    first_case: int = option(0, "Number of the first patient: a later delivery has others.", low=0)
    seed: int = option(0, "Source of all randomness.", low=0)
    layout: str = option(
        "hecktor", f"Layout of the files. Heads: {_HEADS}; trunks: the others.", choices=tuple(LAYOUTS)
    )
    labelled: int = option(6, "Patients of the partition 'labelled'.", low=0)
    validation: int = option(6, "Patients of the partition 'validation'.", low=0)
    test: int = option(12, "Patients of the partition 'test'; all others are unlabelled.", low=0)
    empty_fraction: float = option(0.1, "Fraction of the patients without a lesion.", low=0, high=1)
    oblique: bool = option(False, "Tilt the grids, and order their axes at random.")
    phantom_size_mm: tuple[float, float, float] = option(
        (192.0, 192.0, 96.0), "Field of view in mm: left-right, back-front, feet-head.", above=0, high=10000
    )
    phantom_spacing_mm: tuple[float, float, float] = option(
        (3.0, 3.0, 4.0),
        "Size of a voxel in mm, in the same order. PET's voxels are 1.4, 1.4 and 1.25 times as large.",
        above=0,
        high=10000,
    )
    overwrite: bool = option(False, "Replace a phantom that is already in --output.")

    def __post_init__(self):
        check(self)
