"""Compares evaluated runs: one Markdown table, and tests of all pairs of runs in each modality.

  python -m semicml_tf.compare runs/a runs/b --names=A,B             runs that were evaluated
  python -m semicml_tf.compare runs/a runs/b --output=FOLDER         also writes comparison.md and comparison.json
  python -m semicml_tf.compare runs/before runs/after --dataset=GROWN
                                                                     scores both runs on the same data first

The runs must have been scored on the same patients of the same data, with the same definitions. The test is Wilcoxon's
signed-rank test of DSC over patients; p is corrected by Holm (docs/evaluation.md).
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.evaluation.config import CompareConfig

CONFIG = CompareConfig
POSITIONAL = ("runs",)
POSITIONAL_REPEATS = True
AFTER_INTERRUPT = "Finished evaluations are kept. Run the same command again."


def main(config: CompareConfig) -> None:
    """Prints the tables."""
    from semicml_tf.evaluation.compare_job import compare

    print(compare(config).text, end="")


if __name__ == "__main__":
    commandline.run("semicml_tf.compare")
