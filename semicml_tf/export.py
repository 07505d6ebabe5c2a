"""Publishes the networks of a run or an ensemble, one SavedModel per modality: <output>/<modality>/<version>/.

  python -m semicml_tf.export RUN --output=models/
  python -m semicml_tf.export RUN --output=models/ --check_input=cases.csv    only if each case can be segmented
  python -m semicml_tf.export ENSEMBLE --output=models/                       the mean of several runs' networks

Each network is read back and compared with the network in memory before it gets its number. A network whose validation
DSC is clearly below that of the published version is held back, and the exit code is 2; the others are published.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.exporting.config import ExportConfig

CONFIG = ExportConfig
POSITIONAL = ("run",)
AFTER_INTERRUPT = "Published versions are complete. Run the same command again."


def main(config: ExportConfig) -> None:
    """Prints the new versions."""
    from semicml_tf.exporting.job import export

    commandline.show(export(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.export")
