"""Runs all steps from volumes on disk to served networks in one command.

    python -m pipelines.main_job --study=configs/demo.flags --output=demo_output
    python -m pipelines.main_job --study=configs/sts_ct_pet.flags --input=DATA --output=OUTPUT

Runs phantom (without --input), convert, train, evaluate, report, export, the embedded server and prediction over gRPC.
Evaluation first chooses post-processing on the validation patients. Each command is printed. Finished steps are not
repeated, so that the same line resumes an interrupted job.
"""

from __future__ import annotations

import dataclasses
import filecmp
import pathlib

from pipelines import command
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MainJobConfig:
    """Options of the command."""

    study: str = option(help="Flagfile of the study. Every command gets its flags.", path=True)
    input: str | None = option(None, help="Folder of volumes. By default, a phantom is made.", path=True)
    output: str = option(help="Folder for all results.", path=True)
    require_margin: float | None = option(
        None, help="Minimum lead in mean DSC of each modality over both no-network baselines. A smaller lead fails."
    )

    def __post_init__(self):
        check(self)


CONFIG = MainJobConfig
AFTER_INTERRUPT = "The same line resumes the job."


def main(config: MainJobConfig) -> None:
    """Runs the unfinished steps, and prints the paths of the results."""
    output = pathlib.Path(config.output)
    seconds: dict[str, float] = {}

    def step(module: str, *arguments: str, done: pathlib.Path | None = None) -> None:
        if done is not None and done.exists():
            print(f"\n{done} is there: {module} is not run again", flush=True)
            return
        seconds[module] = seconds.get(module, 0.0) + command.run(module, *arguments, flagfile=config.study)

    volumes = pathlib.Path(config.input) if config.input else output / "volumes"
    dataset, run, models = output / "dataset", output / "run", output / "models"
    scores = run / "evaluation" / "test" / "metrics.json"
    if not config.input:
        step("semicml_tf.phantom", f"--output={volumes}", done=volumes)
    step("semicml_tf.convert", f"--input={volumes}", f"--output={dataset}", done=dataset / "dataset.json")
    step("semicml_tf.train", f"--dataset={dataset}", f"--output={run}", "--resume")
    step("semicml_tf.evaluate", f"--run={run}", "--choose_postprocessing", done=run / "postprocessing.json")
    step("semicml_tf.evaluate", f"--run={run}", done=scores)
    # The report takes a few seconds, and is always written again from the current results.
    step("semicml_tf.report", f"--run={run}")
    step("semicml_tf.export", f"--run={run}", f"--output={models}", done=models / "export.json")
    masks = _predict_over_grpc(volumes, dataset, models, output / "masks")
    print("\nseconds a step: " + ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items()))
    print(f"metrics:  {scores}\noverlays: {scores.with_name('overlays.png')}")
    print(f"report:   {run / 'report.html'} (open it in a browser)")
    print("masks:    " + "\n          ".join(str(path) for path in masks))
    if config.require_margin is not None:
        _require(scores, config.require_margin)


def _first_test_case(volumes: pathlib.Path, dataset: pathlib.Path):
    """The files of the first test patient in the layout of the input."""
    from semicml_tf.files.layouts import catalogue
    from semicml_tf.records.dataset import DatasetInfo

    info = DatasetInfo.load(dataset)
    wanted = info.cases("test")[0].case_id
    cases = catalogue.choose(info.layout, volumes).find(volumes, info.modalities)
    return next(case for case in cases if case.case_id == wanted)


def _predict_over_grpc(
    volumes: pathlib.Path, dataset: pathlib.Path, models: pathlib.Path, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Segments a test patient from each modality, over gRPC and in process. Returns the masks.

    Raises:
        UserError: the two masks of a modality differ.
    """
    case = _first_test_case(volumes, dataset)
    masks = []
    with command.served(models) as address:
        for name, image in case.images.items():
            if not (models / name).is_dir():
                continue
            mask, local = (folder / f"{case.case_id}_{name}{kind}.nii.gz" for kind in ("", "_in_process"))
            common = (f"--input={image.path}", f"--modality={name}")
            command.run(
                "semicml_tf.serving.client",
                f"--address={address}",
                f"--model={name}",
                f"--output={mask}",
                *common,
            )
            command.run("semicml_tf.predict", f"--model={models / name}", f"--output={local}", *common)
            if not filecmp.cmp(mask, local, shallow=False):
                raise UserError("the served and the local network disagree", path=mask, remedy=f"Compare with {local}")
            masks.append(mask)
    return masks


def _require(scores: pathlib.Path, margin: float) -> None:
    from semicml_tf.evaluation import report
    from semicml_tf.evaluation.baseline_margin import shortfalls

    failures = shortfalls(report.load(scores), margin)
    if failures:
        raise UserError("; ".join(failures), path=scores, remedy="Train longer or on more labelled patients")
    print(f"each modality beats both blind rows by {margin:g} DSC")


if __name__ == "__main__":
    commandline.run("pipelines.main_job")
