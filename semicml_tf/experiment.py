"""Trains and scores a grid of runs (rows x modality sets x labelled patients x seeds), and writes its tables.

    python -m semicml_tf.experiment --flagfile=configs/experiments/phantom.flags --output=OUT
    python -m semicml_tf.experiment --flagfile=configs/experiments/sts.flags --input=DATA --output=OUT

The flagfile also has the flags of phantom, convert, train and evaluate, which the experiment starts. Each seed draws
labelled patients. All rows of a seed share the draw; smaller draws are subsets of larger draws. All runs share the
validation and test patients. A killed experiment resumes with the same command, and finished runs are not run again.
OUT gets volumes (of a phantom), splits, datasets, runs, tables and figures. The tables are updated after each seed.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.experiments.config import ExperimentConfig

CONFIG = ExperimentConfig
AFTER_INTERRUPT = "Finished runs are kept: the same command continues."


def main(config: ExperimentConfig) -> None:
    """Runs the command."""
    from semicml_tf.experiments import job

    result = job.experiment(config)
    print(result.plan.text() if config.dry_run else result.text)
    for message in result.not_used:
        print(f"not used: {message}")


if __name__ == "__main__":
    commandline.run("semicml_tf.experiment")
