"""Reports how the networks of a run, or of several runs, learned from each other.

  python -m semicml_tf.diagnose runs/demo relearning                    scores of teacher and student
  python -m semicml_tf.diagnose runs/demo relearning --truth=DATASET    also the quality of the pseudo-labels
  python -m semicml_tf.diagnose runs/demo stages --truth=DATASET        DSC of networks and labels, stage by stage
  python -m semicml_tf.diagnose runs/demo similarity                    similarity of the two networks' maps
  python -m semicml_tf.diagnose runs/demo labels                        the teachers' soft labels, as NIfTI files

'relearning' and 'labels' need a stage that learned from a teacher's labels, for example prel. 'similarity' compares
the networks' maps of unlabelled training slices, pair by pair, also while the run is training. 'stages' also takes the
folder of a cross-validation or of an ensemble, or of an experiment with --experiment_row, and pools its runs.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.diagnostics.config import DiagnoseConfig

CONFIG = DiagnoseConfig
POSITIONAL = ("run", "diagnosis")
AFTER_INTERRUPT = "No file was written. Run the same command again."


def main(config: DiagnoseConfig) -> None:
    """Prints the report."""
    from semicml_tf.diagnostics.job import diagnose

    commandline.show(diagnose(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.diagnose")
