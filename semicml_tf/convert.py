"""Converts images on disk into a dataset for training: sharded TFRecords and a dataset.json.

Each case is verified first, and all problems are reported. Then the modalities of a case are resampled onto one grid in
physical space and normalised, with the label if the split allows reading it. The same command continues a conversion
that was killed. Example:

    python -m semicml_tf.convert --flagfile=configs/sts_ct_pet.flags --input=DIR --output=DIR
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.conversion.config import ConvertConfig

CONFIG = ConvertConfig
AFTER_INTERRUPT = "Finished cases are kept: the same command continues."


def main(config: ConvertConfig) -> None:
    """Verifies and converts; prints what was found and what was made."""
    from semicml_tf.conversion.job import convert

    commandline.show(convert(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.convert")
