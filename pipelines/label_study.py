"""The benefit of unlabelled patients: the method of a study beside two supervised runs with the same budget.

    python -m pipelines.label_study --study=configs/sts_ct_pet.flags --input=DATA --output=OUTPUT

Trains three runs: the method of the study; supervised training on the labelled patients; and supervised training with
labels of all training patients (the upper bound). OUTPUT/table.md has their scores on the same test patients, and the
no-network baselines of the labelled patients. Finished steps are not repeated.
"""

from __future__ import annotations

import dataclasses
import pathlib

from pipelines import command
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.conversion.splitting.split import read as read_split
from semicml_tf.evaluation.compare_job import compare
from semicml_tf.evaluation.config import CompareConfig
from semicml_tf.system import atomic_files


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelStudyConfig:
    """Options of the command."""

    study: str = option(help="Flagfile of the study. Every command gets its flags.", path=True)
    input: str = option(help="Folder of volumes.", path=True)
    output: str = option(help="Folder for all results.", path=True)

    def __post_init__(self):
        check(self)


CONFIG = LabelStudyConfig
AFTER_INTERRUPT = "The same line resumes the study."


def main(config: LabelStudyConfig) -> None:
    """Trains and scores unfinished runs, and prints the table."""
    output, study = pathlib.Path(config.output), config.study
    dataset, all_labelled = output / "dataset", output / "dataset_all_labelled"
    _convert(config.input, dataset, study)
    split = output / "split_all_labelled.json"
    _write_all_labelled(dataset / "split.json", split)
    _convert(config.input, all_labelled, study, f"--split={split}")

    # A single stage gets the sum of the epochs of the study, which is the same number of steps.
    supervised = ("--method=supervised",)
    runs = {
        "semi-supervised": (output / "semi", dataset, ()),
        "labelled only": (output / "labelled_only", dataset, supervised),
        "all labelled": (output / "all_labelled", all_labelled, supervised),
    }
    for folder, data, arguments in runs.values():
        command.run(
            "semicml_tf.train", f"--dataset={data}", f"--output={folder}", "--resume", *arguments, flagfile=study
        )
        if not (folder / "evaluation" / "test" / "metrics.json").exists():
            # The dataset of the upper bound differs only in labels. All runs are scored on the same records.
            command.run(
                "semicml_tf.evaluate", f"--run={folder}", f"--dataset={dataset}", "--allow_other_data", flagfile=study
            )
    table = compare(CompareConfig(runs=tuple(folder for folder, _, _ in runs.values()), names=tuple(runs))).text
    atomic_files.write_text(output / "table.md", table)
    print(f"\n{table}\ntable: {output / 'table.md'}")


def _convert(source: str, dataset: pathlib.Path, study: str, *arguments: str) -> None:
    if not (dataset / "dataset.json").exists():
        command.run("semicml_tf.convert", f"--input={source}", f"--output={dataset}", *arguments, flagfile=study)


def _write_all_labelled(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the same split with the unlabelled patients among the labelled ones."""
    split = read_split(source).to_json()
    split.pop("hash", None)  # the hash of the original split
    split["labelled"] = sorted([*split["labelled"], *split["unlabelled"]])
    split["unlabelled"] = []
    atomic_files.write_json(target, split)


if __name__ == "__main__":
    commandline.run("pipelines.label_study")
