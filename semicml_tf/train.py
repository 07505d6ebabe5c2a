"""Trains one network per modality on a converted dataset.

  python -m semicml_tf.train --flagfile=configs/sts_ct_pet.flags --dataset=DATASET --output=RUN

RUN gets checkpoints, history.csv, training.png (its curves), TensorBoard scalars, pictures, run.json and
flags.flagfile, which reproduces it. --dry_run prints the plan, takes two steps of each stage and writes nothing.
Ctrl-C and SIGTERM end the step under way and save the state. The same command with --resume continues a run that was
stopped or killed; --resume may be given from the start.

Several machines train one run together where each is started with TF_CONFIG set (configs/cluster has a Kubernetes
job and a Slurm script): DATASET and RUN must be the same folders on all of them.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.runs.config import TrainConfig

CONFIG = TrainConfig
AFTER_INTERRUPT = "The same command with --resume continues from the last checkpoint, if there is one."


def main(config: TrainConfig) -> None:
    """Runs the command."""
    from semicml_tf.training import job

    result = job.train(config, end=lambda number: commandline.end_by_signal("semicml_tf.train", number))
    for name, best in result.best.items():
        print(f"{name}: best mean validation DSC {best['dice']:.3f} at step {best['step']} ({best['stage']})")
    if result.folder:
        print(f"run: {result.folder}")


if __name__ == "__main__":
    commandline.run("semicml_tf.train")
