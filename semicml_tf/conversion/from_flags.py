"""What a conversion needs, from the flags of its command."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from semicml_tf.conversion.execution.output import Target
from semicml_tf.conversion.privacy import pseudonyms
from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, deliveries
from semicml_tf.files.layouts.options import LayoutOptions


def places(values: flags.FlagValues) -> tuple[pathlib.Path, Target]:
    """Input and output.

    Raises:
        UserError: one is not named, or the output is refused.
    """
    for name, why in (("input", ""), ("output", "; with --verify_only, what was found is written beside it")):
        if not values[name].value:
            raise UserError(f"--{name} is missing", remedy=f"See --help{why if values.verify_only else ''}")
    source, target = pathlib.Path(values.input), Target.parse(values.output, overwrite=values.overwrite)
    if not values.verify_only:
        target.check(source)
    return source, target


def layout(values: flags.FlagValues, source: pathlib.Path):
    """The input's layout; see `files.layouts.catalogue.choose`.

    Raises:
        UserError: it is none that is known.
    """
    if deliveries.is_there(source):
        return deliveries.choose(source, values.layout, span=values.span, replace=values.repeated_cases == "replace")
    if values.span is not None:
        raise UserError(
            "--span is for a folder of deliveries, span-1, span-2, ..., and there is none",
            path=source,
            remedy="Pass the folder that they lie in",
        )
    return catalogue.choose(values.layout, source)


def layout_options(values: flags.FlagValues) -> LayoutOptions:
    """What the user says of the input."""
    return LayoutOptions(
        accept_near_matches=values.accept_near_matches,
        dicom_series=_by_modality("dicom_series", values.dicom_series),
        label_roi=values.label_roi,
    )


def settings(values: flags.FlagValues) -> Settings:
    """How every case is built."""
    return Settings.parse(
        modalities=values.modalities,
        reference_modality=values.reference_modality,
        spacing_mm=values.spacing_mm,
        normalisation=values.normalisation,
        label_values=values.label_values,
        background_values=values.background_values,
        allow_empty_labels=values.allow_empty_labels,
        allow_missing_modality=values.allow_missing_modality,
        crop=values.crop,
        accept=values.accept,
        planned=values.plan == "auto",
    )


def privacy(values: flags.FlagValues, source: pathlib.Path, target: Target, layout) -> Open | Hidden:
    """What may be told of names and places."""
    of_dicom = getattr(layout, "holds_patient_names", None)
    if not (values.pseudonymize or (of_dicom and of_dicom(source))):
        return Open()
    return Hidden(source, values.pseudonym_map or pseudonyms.default_map(values.output), dataset=target.local)


def _by_modality(flag: str, texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name in found:
            raise UserError(f"expected --{flag}=MODALITY=VALUE,... with each modality once, got '{text}'")
        found[name] = value
    return found
