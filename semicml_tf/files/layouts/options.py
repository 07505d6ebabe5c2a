"""The user's choices for reading a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class LayoutOptions:
    """The user's choices for reading a folder. A layout ignores those that do not concern it.

    Attributes:
        accept_near_matches: whether a misnamed file is used if it is the only candidate.
        dicom_series: by modality name, a regular expression that matches its SeriesDescription. Needed if a patient has
            several series of one DICOM modality (T1 and T2 are both MR).
        label_roi: regular expression for the name of the segment (DICOM-SEG) or structure (RTSTRUCT) that is the
            label; "" if there is only one.
        label_rois: by class, such an expression; {} if the label has no classes by name.
        exclusive: whether these classes exclude each other.
    """

    accept_near_matches: bool = False
    dicom_series: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_roi: str = ""
    label_rois: Mapping[str, str] = dataclasses.field(default_factory=dict)
    exclusive: bool = False


DEFAULT = LayoutOptions()
