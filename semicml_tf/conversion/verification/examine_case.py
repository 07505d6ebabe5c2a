"""Verification of one case: reports all of its problems, not only the first one."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification import label_on_grid, plausible_grids, registration, statistics
from semicml_tf.conversion.verification.findings import ERROR, CaseReport, Finding
from semicml_tf.errors import UserError, unexpected
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile, Source, read_label_with_warnings
from semicml_tf.geometry.grid import Grid
from semicml_tf.preprocessing import plausibility

# A smaller foreground is a drawing error, or is lost on a coarser grid.
TINY_VOXELS = 10
# Shares of the label map's voxels. In the cropped volumes of the sarcoma patients, the foreground is 25 % at most.
LARGE_SHARE, WHOLE_SHARE = 0.5, 0.9
_NO_SUV = ("suv_no_suv", "suv_too_low", "suv_like_ct")
# Share of the foreground inside a modality's box. Cropping to whole voxels may cut a lesion at the border.
LEAST_COVERED = 0.95


def examine(
    case: CaseFiles,
    settings: Settings,
    *,
    with_label: bool,
    missing_allowed: bool = False,
    debug_log: pathlib.Path | None = None,
) -> CaseReport:
    """Verifies a case, and computes its statistics.

    Errors are the problems that `conversion.build_case` refuses, by the same checks. All other findings are warnings.

    Args:
        case: files of the case.
        settings: settings of the conversion.
        with_label: whether the partition has labels. The label file is not opened otherwise.
        missing_allowed: whether the case may lack some of the modalities, but not all.
        debug_log: file that gets the tracebacks of unexpected exceptions.

    Returns:
        Findings and statistics. A case that cannot be used gets findings, never an exception.
    """
    examination = _Examination(case, settings, missing_allowed, debug_log)
    try:
        return examination.report(with_label)
    except Exception as error:  # an unexpected exception must not stop the other cases
        examination.unexpected(error, None)
        return CaseReport(case.case_id, tuple(examination.findings), {}, None, examination.digests)


@dataclasses.dataclass
class _Examination:
    case: CaseFiles
    settings: Settings
    missing_allowed: bool
    debug_log: pathlib.Path | None
    findings: list[Finding] = dataclasses.field(default_factory=list)
    volumes: dict[str, tuple[np.ndarray, Grid]] = dataclasses.field(default_factory=dict)
    grids: dict[str, Grid] = dataclasses.field(default_factory=dict)
    images: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)

    def report(self, with_label: bool) -> CaseReport:
        for name in self._check_files(with_label):
            self._check_image(name)
        self._compare_grids()
        label = self._check_label() if with_label else None
        if not with_label:
            self._check_displacement(None, None)
        return CaseReport(self.case.case_id, tuple(self.findings), self.images, label, self.digests)

    def _try(self, code: str, step: Callable, *args, **named) -> Any:
        """The result of a step; None, with a finding under `code`, if the step raises an error."""
        try:
            return step(*args, **named)
        except UserError as error:
            self.findings.append(Finding.of_error(code, error, case=self.case.case_id))
        except Exception as error:
            self.unexpected(error, getattr(step, "__self__", None))
        return None

    def unexpected(self, error: Exception, source: Source | None) -> None:
        """Adds the finding of an unexpected exception; `source` is the file that was read, if known."""
        reported = unexpected(error, self.debug_log)
        problem = f"case {self.case.case_id}: {reported.problem}"
        path = getattr(source, "path", None)
        self.findings.append(
            Finding.of("unexpected", problem, case=self.case.case_id, file=path, remedy=reported.remedy or "")
        )

    def _check_header(self, source: Source) -> None:
        for remark in source.remarks() if isinstance(source, NiftiFile) else ():
            self._add(
                "header_contradicts",
                source,
                f"its header is inconsistent: {remark}",
                "Check how the file was made; the field is ignored",
            )

    def _add(self, code: str, source: Source, problem: str, remedy: str) -> None:
        self.findings.append(Finding.of(code, problem, case=self.case.case_id, file=source.path, remedy=remedy))

    def _implausible(self, source: Source, problems: Iterable[plausibility.Problem]) -> None:
        self.findings += [
            Finding(item.code, item.severity, self.case.case_id, os.fspath(source.path), item.problem, item.remedy)
            for item in problems
        ]

    def _check_files(self, with_label: bool) -> tuple[str, ...]:
        """Reports missing and misnamed files; returns the modalities whose files exist."""
        case, modalities = self.case, self.settings.modalities
        present = case.present(modalities)
        reported = set()
        for name, error in case.absent(with_label=with_label, modalities=modalities):
            # The image on which the label was drawn is usually one of the modalities, and is reported once.
            if name == "label_on" and (error.path in reported or self.missing_allowed):
                continue
            reported.add(error.path)
            code = "missing_modality" if name in modalities and present and self.missing_allowed else "missing_file"
            self.findings.append(Finding.of_error(code, error, case=case.case_id))
        for name, near in case.near_matches.items():
            source = case.label if name == "label" else case.images.get(name)
            if source is not None and source.path == near and (with_label or name != "label"):
                self._add(
                    "near_match",
                    source,
                    f"this misnamed file is used as '{name}' of case {case.case_id} (--accept_near_matches)",
                    "Check that it is the right file, and rename it",
                )
        return present

    def _check_image(self, name: str) -> None:
        source = self.case.images[name]
        limits = plausibility.Plausibility.of(self.settings.normalisation[name], self.settings.accepted)
        read = self._try("unreadable_image", source.read_volume)
        if read is None:
            # The grid may still be readable. Errors of the header are reported already.
            try:
                self.grids[name] = source.read_grid()
            except Exception:
                return
        else:
            volume, self.grids[name] = read
            digest = self._try("unreadable_image", source.digest)
            if digest is not None:
                self.digests[name] = digest
            normalisation = self.settings.normalisation[name]
            facts = statistics.image_facts(volume, self.grids[name], normalisation.kind)
            self._try("unreadable_image", self._check_header, source)
            values = {**facts, "fraction": facts["body"]["fraction"]}
            self._implausible(source, plausibility.of_values(volume, values, normalisation, limits, name=name))
            self.images[name] = {**facts, "voxels_sha256": _voxels_sha256(volume)}
            self.volumes[name] = read
        self._implausible(source, plausibility.of_grid(self.grids[name], limits, name=name))

    @property
    def _reference(self) -> str | None:
        """The reference modality, or the first modality with a grid if the reference is missing."""
        names = (self.settings.reference_modality, *self.settings.modalities)
        return next((name for name in names if name in self.grids), None)

    def _compare_grids(self) -> None:
        reference = self._reference
        for name in self.settings.modalities:
            if name == reference or name not in self.grids:
                continue
            grids = (self.grids[reference], self.grids[name])
            names = {"case_id": self.case.case_id, "reference_name": reference, "name": name}
            names["path"] = self.case.images[name].path
            before = len(self.findings)
            self._try("overlap_too_small", plausible_grids.check_overlap, *grids, **names)
            if len(self.findings) == before:  # without enough overlap, other comparisons are meaningless
                self.findings += plausible_grids.of_two(*grids, **names)

    def _check_label(self) -> dict[str, Any] | None:
        before = len(self.findings)
        codes, grid = self._codes()
        mask = None if codes is None else self.settings.labels.any(codes).view(np.uint8)
        is_valid = not any(finding.severity == ERROR for finding in self.findings[before:])
        self._check_displacement(*((mask, grid) if is_valid else (None, None)))
        if mask is None or not is_valid:
            return None
        label = self.case.label
        facts = statistics.label_facts(mask, grid, self.volumes)
        facts |= statistics.class_facts(codes, self.settings.labels)
        if getattr(label, "rois", None) and not self.settings.labels.exclusive:
            facts["outside"] = statistics.voxels_outside(codes, self.settings.labels)
        if 0 < facts["voxels"] < TINY_VOXELS:
            self._add(
                "tiny_label",
                label,
                f"the label of case {self.case.case_id} has {facts['voxels']} voxels of foreground",
                "Check that it is the right file, and complete",
            )
        self._check_share(facts["voxels"] / mask.size)
        for name, inside in facts["images"].items():
            if facts["voxels"] and inside["covered"] < LEAST_COVERED:
                self._add(
                    "label_outside_image",
                    label,
                    f"{1 - inside['covered']:.0%} of the foreground of case {self.case.case_id} lies outside '{name}'",
                    f"Check whether '{name}' really ends there; the network of '{name}' cannot see that part",
                )
        return facts

    def _check_share(self, share: float) -> None:
        """Reports a foreground that is too large for a lesion."""
        if share <= LARGE_SHARE:
            return
        code = "whole_label" if share > WHOLE_SHARE else "large_label"
        remedy = "Check that it is a label map, that it is not inverted, and --label_values"
        if code in self.settings.accepted:
            code = "large_label"
        elif code == "whole_label":
            remedy += f", or pass --accept={code} if it is meant"
        self._add(
            code,
            self.case.label,
            f"{share:.0%} of the label map of case {self.case.case_id} is foreground, expected a lesion",
            remedy,
        )

    def _codes(self) -> tuple[np.ndarray | None, Grid | None]:
        """The codes of the label and its grid; (None, None) if the label cannot be read."""
        case, settings = self.case, self.settings
        if case.label is None or case.label.missing():
            return None, None
        read = self._try("unreadable_label", read_label_with_warnings, case.label)
        if read is None:
            return None, None
        digest = self._try("unreadable_label", case.label.digest)
        if digest is not None:
            self.digests["label"] = digest
        self._try("unreadable_label", self._check_header, case.label)
        values, grid, warnings = read
        self.findings += [Finding.of_error("label_contours", warning, case=case.case_id) for warning in warnings]
        if self._reference is not None and self._has_readable_grid():
            reference = self.grids[self._reference]
            self._try("label_elsewhere", label_on_grid.check_place, case, settings, grid, reference)
        before = len(self.findings)
        self._try("label_values", label_on_grid.check_values, case, settings, values)
        codes = settings.labels.encode(values)
        if len(self.findings) == before:  # with unknown values, "empty" would be a second report
            self._try("empty_label", label_on_grid.check_not_empty, case, settings, settings.labels.any(codes))
        return codes, grid

    def _has_readable_grid(self) -> bool:
        """Whether the grid of the label's image can be read, or the image may be missing."""
        drawn_on = self.case.label_on or self.case.images.get(self.settings.reference_modality)
        if drawn_on is None or drawn_on.missing():
            return self.missing_allowed
        try:
            drawn_on.read_grid()
        except Exception as error:
            if not isinstance(error, UserError):
                self.unexpected(error, drawn_on)
            elif all(finding.file != error.path for finding in self.findings):
                self.findings.append(Finding.of_error("unreadable_image", error, case=self.case.case_id))
            return False
        return True

    def _check_displacement(self, mask: np.ndarray | None, grid: Grid | None) -> None:
        """Reports PET uptake in the air beside the body in CT, for each pair of PET and CT."""
        kinds = {name: self.settings.normalisation[name].kind for name in self.volumes}
        for ct in (name for name, kind in kinds.items() if kind == "hu"):
            for pet in (name for name, kind in kinds.items() if kind == "suv"):
                if not self._is_suv(pet):
                    continue
                source = self.case.images[pet]
                uptake = registration.uptake_in_air(*self.volumes[pet], *self.volumes[ct])
                if not uptake.noticeable:
                    continue
                of_lesion = mask is not None and registration.beside(uptake.points_mm, mask, grid)
                if not of_lesion and uptake.volume_ml < registration.LEAST_ML_ALONE:
                    continue
                self._add(
                    "label_displaced" if of_lesion else "uptake_in_air",
                    self.case.label if of_lesion else source,
                    f"{uptake.volume_ml:.1f} ml of '{pet}', up to SUV {uptake.peak_suv:.1f}, lie in the air beside the "
                    f"body in '{ct}'"
                    + (", next to the labelled lesion: the label cannot fit both" if of_lesion else ""),
                    f"Check the registration of '{ct}' and '{pet}', and correct it or exclude the case"
                    + ("" if of_lesion else " (urine, or an arm outside the field of view of CT, is no error)"),
                )

    def _is_suv(self, pet: str) -> bool:
        """Whether the values are SUV, by the normalisation and by the findings so far."""
        if plausibility.Plausibility.of(self.settings.normalisation[pet]).median_below is None:
            return False
        path = str(self.case.images[pet].path)
        return not any(finding.code in _NO_SUV and finding.file == path for finding in self.findings)


def _voxels_sha256(volume: np.ndarray) -> str:
    """Hash of shape and values, which does not depend on the compression of the file."""
    # Most readers return Fortran order, whose transpose is contiguous and is not copied.
    digest = hashlib.sha256(repr(volume.shape).encode())
    digest.update(np.ascontiguousarray(volume.T).data)
    return digest.hexdigest()
