"""nnU-Net on the patients of converted datasets, scored like this package's runs.

    make nnunet
    python -m benchmarks.nnunet --dataset=data --input=patients --output=OUT --trainer=nnUNetTrainer_20epochs

For each dataset and each set of channels (each modality alone, and all together), the command exports the dataset,
trains nnU-Net's 2-D configuration on the labelled patients, predicts the test patients and scores the masks on the
patients' own grids. OUT/DATASET/CHANNELS has a log of each step, ``masks`` and ``scores/metrics.json``. Repeating the
command skips finished steps. The table shows the processor time of each training.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import sys

from benchmarks.timed_steps import TimedSteps
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError

_FOLDERS = ("raw", "preprocessed", "results")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NnunetConfig:
    """Options of `benchmarks.nnunet`."""

    dataset: tuple[str, ...] = option(
        help="Folder of a converted dataset. May be given several times, for example once per fold.",
        path=True,
        repeated=True,
    )
    output: str = option(help="Folder for logs, networks, masks and scores.", path=True)
    input: str | None = option(
        None,
        "Folder or manifest that was converted: nnU-Net gets the images of its files. Default: the images of the "
        "records, which were resampled and clipped.",
        path=True,
    )
    channels: tuple[str, ...] = option(
        (), "Sets of channels, such as ct,pet,ct:pet. Default: each modality alone, and all together."
    )
    trainer: str = option(
        "nnUNetTrainer_20epochs", "Trainer of nnU-Net, which sets the number of epochs. An epoch has 250 steps."
    )
    spacing_mm: tuple[float, float, float] = option(
        (0.0, 0.0, 0.0), "Slice, row and column spacing that nnU-Net resamples to. 0,0,0 is its own choice.", low=0.0
    )
    study: str | None = option(
        None, "Flagfile of a study: train this package's networks, too, to compare their processor time.", path=True
    )
    nnunet: str = option(".venv-nnunet/bin", "Folder of nnU-Net's commands.", path=True)
    device: str = option("cpu", "Where nnU-Net computes.", choices=("cpu", "cuda"))
    augmentation_workers: int = option(1, "Processes that make nnU-Net's batches.", low=1)

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        names = [pathlib.Path(path).name for path in self.dataset]
        if len(set(names)) < len(names):
            yield f"expected --dataset in folders of different names, got {', '.join(names)}", "Rename one of them"
        if any(self.spacing_mm) and not all(self.spacing_mm):
            yield f"expected --spacing_mm of three numbers above 0, or 0,0,0, got {self.spacing_mm}", ""

    def program(self, name: str) -> str:
        """Path of a command of nnU-Net.

        Raises:
            UserError: it is not installed there.
        """
        path = pathlib.Path(self.nnunet) / name
        if not path.is_file():
            raise UserError("nnU-Net is not installed here", path=path, remedy="Run make nnunet, or pass --nnunet")
        return str(path)


CONFIG = NnunetConfig


def compare(config: NnunetConfig, dataset: str, channels: tuple[str, ...]) -> TimedSteps:
    """Trains and scores nnU-Net with some channels of a dataset.

    Returns:
        The finished steps.

    Raises:
        UserError: a step failed.
    """
    folder = pathlib.Path(config.output) / pathlib.Path(dataset).name / "_".join(channels)
    raw, preprocessed, results = (folder / name for name in _FOLDERS)
    masks, steps = folder / "masks", TimedSteps(folder)
    environment = {f"nnUNet_{name}": str(folder / name) for name in _FOLDERS} | {
        "nnUNet_n_proc_DA": str(config.augmentation_workers),
        "nnUNet_def_n_proc": "1",
        # Threads that wait must not use the cores that other processes need.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    package, network = (sys.executable, "-m"), ("-tr", config.trainer, "-device", config.device)
    source = [f"--input={config.input}"] if config.input else []
    chosen = [f"--modalities={','.join(channels)}", *source, "--overwrite"]
    steps.run("export", [*package, "semicml_tf.inspect", dataset, f"--export_nnunet={raw}", *chosen])
    (exported,) = raw.glob("Dataset*")
    number = exported.name.removeprefix("Dataset")[:3]
    plan = ["-d", number, "-c", "2d", "--verify_dataset_integrity", "-npfp", "1", "-np", "1"]
    if any(config.spacing_mm):
        plan += ["-overwrite_target_spacing", *map(str, config.spacing_mm)]
    steps.run("plan", [config.program("nnUNetv2_plan_and_preprocess"), *plan], environment)
    # nnU-Net looks for the split here, and draws another if there is none.
    shutil.copy(exported / "splits_final.json", preprocessed / exported.name)
    steps.run("train", [config.program("nnUNetv2_train"), number, "2d", "0", *network], environment)
    of_test = ["-i", str(exported / "imagesTs"), "-o", str(masks), "-d", number, "-c", "2d", "-f", "0"]
    processes = ["-npp", "1", "-nps", "1"]
    predict = [config.program("nnUNetv2_predict"), *of_test, *processes, *network]
    steps.run("predict", predict, environment)
    named = [f"--name=nnU-Net, {' + '.join(channels)}", f"--mask_values={_mask_values(exported)}"]
    modality = [f"--mask_modality={channels[0]}"] if len(channels) == 1 else []
    scored = [f"--masks={masks}", f"--dataset={dataset}", f"--output={folder / 'scores'}", *named, *modality]
    steps.run("score", [*package, "semicml_tf.evaluate", *scored])
    return steps


def _mask_values(exported: pathlib.Path) -> str:
    """What nnU-Net's values mean, as ``--mask_values`` of `evaluate` takes it."""
    labels = json.loads((exported / "dataset.json").read_text())["labels"]
    values = {name: own if isinstance(own, list) else [own] for name, own in labels.items()}
    classes = [name for name in values if name not in ("background", "ignore")]
    return ",".join(f"{name}:{'+'.join(map(str, values[name]))}" for name in classes)


def channel_sets(config: NnunetConfig, dataset: str) -> list[tuple[str, ...]]:
    """The sets of channels to train with."""
    from semicml_tf.records.dataset import DatasetInfo

    if config.channels:
        return [tuple(text.split(":")) for text in config.channels]
    modalities = DatasetInfo.load(dataset).modalities
    alone = [(name,) for name in modalities]
    return [*alone, modalities] if len(modalities) > 1 else alone


def ours(config: NnunetConfig, dataset: str) -> TimedSteps:
    """Trains the study's networks on a dataset, to measure their processor time."""
    steps = TimedSteps(pathlib.Path(config.output) / pathlib.Path(dataset).name / "ours")
    flags = [f"--flagfile={config.study}", f"--dataset={dataset}", f"--output={steps.folder / 'run'}", "--resume"]
    steps.run("train", [sys.executable, "-m", "semicml_tf.train", *flags])
    return steps


def main(config: NnunetConfig) -> None:
    """Trains and scores everything, and prints the processor time of each training."""
    rows = []
    for dataset in config.dataset:
        name = pathlib.Path(dataset).name
        if config.study:
            rows.append((name, "ours, all modalities", ours(config, dataset)))
        for channels in channel_sets(config, dataset):
            rows.append((name, f"nnU-Net, {' + '.join(channels)}", compare(config, dataset, channels)))
    lines = ["| dataset | networks | processor min of training | processor min of all steps |", "|---|---|---|---|"]
    for name, networks, steps in rows:
        minutes = [done["processor_s"] / 60 for done in steps.done.values()]
        lines.append(f"| {name} | {networks} | {steps.done['train']['processor_s'] / 60:.1f} | {sum(minutes):.1f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    commandline.run("benchmarks.nnunet")
