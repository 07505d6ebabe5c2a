"""Converts images on disk into a dataset for training: sharded TFRecords and a dataset.json.

Every case is looked at first, and what is wrong is told. Then every modality of a case is resampled onto one grid in
physical space and normalised by its name; the label, where the split allows it to be read, comes along. Killed and
called again, a conversion goes on where it was. Example:

    python -m semicml_tf.convert --flagfile=configs/sts_ct_pet.flags --input=DIR --output=DIR
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from semicml_tf import commandline, cores
from semicml_tf.conversion import command_flags
from semicml_tf.errors import UserError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    command_flags.define(values)


def main(values: flags.FlagValues) -> None:
    """Verifies and converts; prints what was found and what was made."""
    from semicml_tf.conversion.conversion import Conversion
    from semicml_tf.conversion.engine import Engine
    from semicml_tf.files import layouts
    from semicml_tf.files.options import LayoutOptions

    source, target = _places(values)
    layout = layouts.choose(values.layout, source)
    privacy = _privacy(values, source, target, layout)
    options = LayoutOptions(
        accept_near_matches=values.accept_near_matches,
        dicom_series=_by_modality("dicom_series", values.dicom_series),
        label_roi=values.label_roi,
    )
    if not values.modalities:
        with privacy.errors():  # looking at the input tells of its files
            raise UserError(
                "--modalities is missing",
                path=source,
                remedy=f"Name two of what is there: {layout.describe(source, options)}",
            )
    settings = _settings(values)
    unknown = sorted(set(options.dicom_series) - {*settings.modalities, values.label_on})
    if unknown:
        raise UserError(
            f"--dicom_series names '{unknown[0]}', which is none of --modalities={','.join(settings.modalities)}"
        )
    engine = Engine(values.runner, values.workers or cores.available(), tuple(values.beam_flag))
    Conversion(values, source, target, layout, settings, engine, privacy).run(options)


def _settings(values: flags.FlagValues):
    from semicml_tf.conversion.settings import Settings

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
    )


def _privacy(values: flags.FlagValues, source: pathlib.Path, target, layout):
    from semicml_tf.conversion import privacy, pseudonyms

    of_dicom = getattr(layout, "holds_patient_names", None)
    if not (values.pseudonymize or (of_dicom and of_dicom(source))):
        return privacy.Open()
    return privacy.Hidden(source, values.pseudonym_map or pseudonyms.default_map(values.output), dataset=target.local)


def _places(values: flags.FlagValues):
    from semicml_tf.conversion.target import Target

    for name, why in (("input", ""), ("output", "; with --verify_only, what was found is written beside it")):
        if not values[name].value:
            raise UserError(f"--{name} is missing", remedy=f"See --help{why if values.verify_only else ''}")
    source, target = pathlib.Path(values.input), Target.parse(values.output, overwrite=values.overwrite)
    if not values.verify_only:
        target.check(source)
    return source, target


def _by_modality(flag: str, texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or name in found:
            raise UserError(f"expected --{flag}=MODALITY=VALUE,... with each modality once, got '{text}'")
        found[name] = value
    return found


if __name__ == "__main__":
    commandline.run("semicml_tf.convert")
