"""The options of a phantom."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.phantom.writers import LAYOUTS

_USUAL_CASES = 40
_SIZES = {"labelled": 6, "validation": 6, "test": 12}  # of 40 cases
_HEADS = ", ".join(name for name, layout in LAYOUTS.items() if layout.body == "head")
_WITH_MR = ", ".join(name for name, layout in LAYOUTS.items() if layout.takes_mr)
IGNORED_VALUE = 255  # label value of voxels that are not annotated


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """How phantom patients are made; see the help of each option."""

    output: str = option(help="Output folder.", path=True)
    cases: int = option(_USUAL_CASES, "Number of patients.", low=1)
    first_case: int = option(0, "Number of the first patient, for a later delivery with other patients.", low=0)
    seed: int = option(0, "Source of all randomness.", low=0)
    layout: str = option(
        "hecktor", f"Layout of the files. Heads: {_HEADS}; trunks: the others.", choices=tuple(LAYOUTS)
    )
    labelled: int | None = option(
        None, "Patients of the partition 'labelled'. Default: 6, or 15 % of --cases if they are too few.", low=0
    )
    validation: int | None = option(
        None, "Patients of the partition 'validation'. Default: 6, or 15 % of --cases if they are too few.", low=0
    )
    test: int | None = option(
        None,
        "Patients of the partition 'test'; all others are unlabelled. Default: 12, or 30 % of --cases if they are too "
        "few.",
        low=0,
    )
    empty_fraction: float = option(0.1, "Fraction of the patients without a lesion.", low=0, high=1)
    phantom_mr: bool = option(False, f"Add MR to trunks (layouts {_WITH_MR}). CT and PET do not change.")
    annotated_slices: int | None = option(
        None,
        f"Number of annotated slices of each training patient, spread evenly from below to above the lesion. Other "
        f"slices of the label become {IGNORED_VALUE}, for convert --ignore_value={IGNORED_VALUE}. Default: all.",
        low=1,
    )
    incomplete_fraction: float = option(
        0.0,
        "Fraction of the unlabelled patients with only one modality, CT or FLAIR, for convert "
        "--allow_missing_modality.",
        low=0,
        high=1,
    )
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
    overwrite: bool = option(False, "Replace an existing phantom in --output.")

    def __post_init__(self):
        check(self, self._further())

    def _further(self):
        if self.phantom_mr and self.layout in LAYOUTS and not LAYOUTS[self.layout].takes_mr:
            yield f"expected a --layout among {_WITH_MR} for --phantom_mr, got {self.layout}", ""
        if self.annotated_slices is not None and self.layout == "dicom":
            yield "expected a --layout with label maps for --annotated_slices, got dicom", "Choose another --layout"
        if self.incomplete_fraction and self.layout == "decathlon":
            problem = "expected a --layout with a file for each modality for --incomplete_fraction, got decathlon"
            yield problem, "Choose another --layout"

    def partition_sizes(self) -> dict[str, int]:
        """Number of patients by partition, without 'unlabelled'; at least one if the number is not given."""
        given = {name: getattr(self, name) for name in _SIZES}
        sizes = {name: _SIZES[name] if value is None else value for name, value in given.items()}
        if sum(sizes.values()) <= self.cases:
            return sizes
        scaled = {name: max(1, self.cases * size // _USUAL_CASES) for name, size in _SIZES.items()}
        return {name: scaled[name] if value is None else value for name, value in given.items()}
