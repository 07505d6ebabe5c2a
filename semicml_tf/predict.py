"""Segments volumes with an exported model of their modality, or with several models.

  python -m semicml_tf.predict --model=models/ct --input=in.nii.gz --output=mask.nii.gz
  python -m semicml_tf.predict --model=models/ct --input=FOLDER --output=FOLDER      each volume of a folder
  python -m semicml_tf.predict --model=models/ct --input=cases.csv --output=FOLDER   as conversion reads it: a manifest,
                                                                      a folder in one of its layouts, deliveries
  python -m semicml_tf.predict --model=models/ct --input=SERIES --output=seg.dcm     DICOM in, DICOM-SEG out
  python -m semicml_tf.predict --model=models/ct --input=ARCHIVE --output=FOLDER --dicom_seg
                                                                      each series of an archive, as DICOM-SEG
  python -m semicml_tf.predict --model=a/ct,b/ct --input=in.nii.gz --output=mask.nii.gz
                                                                      mean of several models
  python -m semicml_tf.predict --model=ct=models/ct,pet=models/pet --input=ct=ct.nii.gz,pet=pet.nii.gz \\
      --output=mask.nii.gz --fuse                                     one mask from two modalities
  python -m semicml_tf.predict --model=ct=models/ct,pet=models/pet --input=ct=ct.nii.gz,pet=pet.nii.gz \\
      --output=mask.nii.gz --disagreement=differ.nii.gz               where two modalities differ

The mask (uint8, 0/1) lies on the input's own grid. Several regions have a mask each, mask_NAME.nii.gz. Exclusive
classes have a label map with the source's values, and mask.classes.json with their names. For a folder,
predictions.json lists the outcome of each case. A case that fails does not stop the others, and the same command
segments the remaining cases. For research only, not for clinical use.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.inference.config import PredictConfig

CONFIG = PredictConfig
POSITIONAL = ("input", "output")
AFTER_INTERRUPT = "Finished cases are kept: the same command continues."


def main(config: PredictConfig) -> None:
    """Prints the outcome."""
    from semicml_tf.inference.job import predict

    commandline.show(predict(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.predict")
