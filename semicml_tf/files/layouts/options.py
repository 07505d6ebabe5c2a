"""What the user may tell a layout about the folder that it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class LayoutOptions:
    """Each layout reads what concerns it.

    Attributes:
        accept_near_matches: take a misnamed file where it is the only one that can be meant.
        dicom_series: by modality name, a regular expression that its SeriesDescription matches; needed where a
            patient has several series of one DICOM modality (T1 and T2 are both MR).
        label_roi: regular expression for the name of the segment (DICOM-SEG) or structure (RTSTRUCT) that is the
            label; "" where there is only one.
        label_rois: by class, such an expression; empty where the label has no classes by name.
        exclusive: whether those classes exclude each other.
    """

    accept_near_matches: bool = False
    dicom_series: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_roi: str = ""
    label_rois: Mapping[str, str] = dataclasses.field(default_factory=dict)
    exclusive: bool = False


DEFAULT = LayoutOptions()
