"""Trains and scores a grid of runs (rows x modality pairs x labelled patients x seeds), and makes its tables.

    python -m semicml_tf.experiment --flagfile=configs/experiments/phantom.flags --output=OUT
    python -m semicml_tf.experiment --flagfile=configs/experiments/sts.flags --input=DATA --output=OUT

The flagfile also has the flags of phantom, convert, train and evaluate, which the experiment starts. Each seed draws
its own labelled patients. All rows of a seed share that draw; smaller numbers of labelled patients are subsets of
larger ones. All runs share the validation and test patients. A killed experiment resumes with the same command, and
finished runs are not run again. OUT gets volumes (of a phantom), splits, datasets, runs, tables and figures. The
tables are written again after each seed.
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
