"""Converts images on disk into a dataset for training: sharded TFRecords and a dataset.json.

Every case is looked at first, and what is wrong is told. Then every modality of a case is resampled onto one grid in
physical space and normalised; the label, where the split allows it to be read, comes along. Killed and
called again, a conversion goes on where it was. Example:

    python -m semicml_tf.convert --flagfile=configs/sts_ct_pet.flags --input=DIR --output=DIR
"""

from __future__ import annotations

from absl import flags

from semicml_tf import commandline
from semicml_tf.conversion import command_flags
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

AFTER_INTERRUPT = "Finished cases are kept: the same command continues."


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    command_flags.define(values)


def main(values: flags.FlagValues) -> None:
    """Verifies and converts; prints what was found and what was made."""
    from semicml_tf.conversion import from_flags
    from semicml_tf.conversion.conversion import Conversion
    from semicml_tf.conversion.execution import runner as runners

    source, target = from_flags.places(values)
    layout = from_flags.layout(values, source)
    privacy = from_flags.privacy(values, source, target, layout)
    options = from_flags.layout_options(values)
    if not values.modalities:
        with privacy.errors():  # looking at the input tells of its files
            raise UserError(
                "--modalities is missing",
                path=source,
                remedy=f"Name two of what is there: {layout.describe(source, options)}",
            )
    settings = from_flags.settings(values)
    if len(settings.modalities) != 2:
        print(f"warning: training takes two modalities, got --modalities={','.join(settings.modalities)}")
    unknown = sorted(set(options.dicom_series) - {*settings.modalities, values.label_on})
    if unknown:
        raise UserError(
            f"--dicom_series names '{unknown[0]}', which is none of --modalities={','.join(settings.modalities)}"
        )
    runner = runners.choose(values.runner, workers=values.workers or cpu.available(), beam_flags=values.beam_flag)
    Conversion(values, source, target, layout, settings, runner, privacy).run(options)


if __name__ == "__main__":
    commandline.run("semicml_tf.convert")
