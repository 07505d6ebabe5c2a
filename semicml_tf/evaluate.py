"""Scores a run's networks, or the masks of another tool, patient by patient, beside two no-network baselines.

  python -m semicml_tf.evaluate runs/demo                           the test patients
  python -m semicml_tf.evaluate runs/demo --partition=validation    if there are no test patients
  python -m semicml_tf.evaluate runs/demo --choose_postprocessing   on the validation patients
  python -m semicml_tf.evaluate --masks=FOLDER --dataset=DATA --name=nnU-Net   masks named after their cases

Each mask is resampled to the patient's own grid and compared there with the annotator's label. The measures are DSC,
IoU, PPV, sensitivity, HD95, ASSD and surface DSC in mm, volume error, and lesions found (docs/evaluation.md). The
command writes metrics.json (all results), metrics.csv (one line per patient and method), table.txt, table.md and
overlays.png. The folder cases has 8-bit images for python -m semicml_tf.report (see --case_images).

With --masks, the files are CASE.nii.gz, CASE.nrrd or CASE.dcm (DICOM-SEG), on the patient's own grid. A case without a
file counts as missed. A mask on another grid is refused. A warning is printed if the masks seem to be flipped,
transposed or shifted. The default output folder is beside the folder of the masks.

python -m semicml_tf.compare puts evaluated runs into one table. python -m semicml_tf.diagnose reports how the networks
learned from each other.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.moved_flags import check_arguments  # noqa: F401  commandline calls it

CONFIG = EvaluateConfig
POSITIONAL = ("run",)
AFTER_INTERRUPT = "No file was written. Run the same command again."


def main(config: EvaluateConfig) -> None:
    """Prints the scores, or the chosen post-processing."""
    from semicml_tf.evaluation import job

    commandline.show(job.choose_postprocessing(config) if config.choose_postprocessing else job.evaluate(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.evaluate")
