"""Cross-validates a study on a converted dataset: each patient with a label is tested once per repeat.

    python -m semicml_tf.crossvalidate --flagfile=configs/sts_ct_pet.flags --dataset=DATASET --folds=5 --output=CV
    python -m semicml_tf.crossvalidate --flagfile=STUDY --dataset=DATASET --labelled_patients=4 --repeats=2 --output=CV

Each run tests the patients of one fold, and chooses checkpoints and thresholds on those of the next fold. The networks
learn from the others, of whom --labelled_patients keep their labels. The flagfile has the flags of train and evaluate.
The dataset is not converted again: label all patients when you convert it. A killed cross-validation resumes with the
same command, and finished runs are not run again.

CV gets evaluation/test/metrics.json (all patients, each scored by a run that has not seen the patient), table.md,
runs, and ensemble: python -m semicml_tf.export --run=CV/ensemble publishes all runs as one model per modality.
python -m semicml_tf.report CV makes the page.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.experiments.config import CrossvalidateConfig

CONFIG = CrossvalidateConfig
AFTER_INTERRUPT = "Finished runs are kept: the same command continues."


def main(config: CrossvalidateConfig) -> None:
    """Runs the command."""
    from semicml_tf.experiments import crossvalidation

    result = crossvalidation.crossvalidate(config)
    print(result.text)
    for message in result.not_used:
        print(f"not used: {message}")


if __name__ == "__main__":
    commandline.run("semicml_tf.crossvalidate")
