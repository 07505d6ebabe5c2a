"""Writes one HTML page of one or several runs: scores, plots, patients worst first, and a viewer of their volumes.

  python -m semicml_tf.report runs/demo                        writes runs/demo/report.html
  python -m semicml_tf.report runs/a runs/b --output=both.html
  python -m semicml_tf.report runs/demo --noimages             a page without images of patients
  python -m semicml_tf.report CV                               a cross-validation: pooled scores, folds, their curves

The page is one file of at most 50 MB. It opens from disk and loads nothing from the network. Score the runs first with
python -m semicml_tf.evaluate RUN, which also stores the images. The page includes the report of
python -m semicml_tf.diagnose RUN relearning, if it exists. Runs with different numbers of labelled patients give an
annotation-cost curve.

Images of patients in the page are 8-bit and on the network's grid. Everyone who gets the page gets the images.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.reporting.config import ReportConfig

CONFIG = ReportConfig
POSITIONAL = ("run",)
POSITIONAL_REPEATS = True  # any number of runs
AFTER_INTERRUPT = "No file was written. Run the same command again."


def main(config: ReportConfig) -> None:
    """Prints where the page is."""
    from semicml_tf.reporting.job import report

    commandline.show(report(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.report")
