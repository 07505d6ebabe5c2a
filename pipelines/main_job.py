"""The whole way from volumes on disk to two served networks, in one command.

    python -m pipelines.main_job --study=configs/demo.flags --output=demo_output
    python -m pipelines.main_job --study=configs/sts_ct_pet.flags --input=DATA --output=OUTPUT

Runs phantom (where no --input is given), convert, train, evaluate, report, export, the embedded server and, over gRPC,
predict; each command is shown as it is run. Finished steps are not run again, so a job that was cut off goes on
when the same line is started again.
"""

from __future__ import annotations

import filecmp
import pathlib

from absl import flags

from pipelines import command
from pipelines.served import served
from semicml_tf import commandline
from semicml_tf.errors import UserError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    flags.DEFINE_string("study", None, "flagfile of the study, handed to every command", flag_values=values)
    flags.DEFINE_string("input", None, "folder of volumes; none: a phantom is made", flag_values=values)
    flags.DEFINE_string("output", None, "folder for everything that is made", flag_values=values)
    flags.DEFINE_float(
        "require_margin", None, "fail unless each modality beats both blind rows by this much DSC", flag_values=values
    )


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    for name in ("study", "output"):
        if not values[name].value:
            raise UserError(f"expected --{name}, got none", remedy="See --help")
    output = pathlib.Path(values.output)
    seconds: dict[str, float] = {}

    def step(module: str, *arguments: str, done: pathlib.Path | None = None) -> None:
        if done is not None and done.exists():
            print(f"\n{done} is there: {module} is not run again", flush=True)
            return
        seconds[module] = command.run(module, *arguments, flagfile=values.study)

    volumes = pathlib.Path(values.input) if values.input else output / "volumes"
    dataset, run, models = output / "dataset", output / "run", output / "models"
    scores = run / "evaluation" / "test" / "metrics.json"
    if not values.input:
        step("semicml_tf.phantom", f"--output={volumes}", done=volumes)
    step("semicml_tf.convert", f"--input={volumes}", f"--output={dataset}", done=dataset / "dataset.json")
    step("semicml_tf.train", f"--dataset={dataset}", f"--output={run}", "--resume")
    step("semicml_tf.evaluate", f"--run={run}", done=scores)
    # A few seconds: written anew each time, so that it tells what is there now.
    step("semicml_tf.report", f"--run={run}")
    step("semicml_tf.export", f"--run={run}", f"--output={models}", done=models / "export.json")
    masks = _predict_over_grpc(volumes, dataset, models, output / "masks")
    print("\nseconds a step: " + ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items()))
    print(f"metrics:  {scores}\noverlays: {scores.with_name('overlays.png')}")
    print(f"report:   {run / 'report.html'} (open it in a browser)")
    print("masks:    " + "\n          ".join(str(path) for path in masks))
    if values.require_margin is not None:
        _require(scores, values.require_margin)


def _first_test_case(volumes: pathlib.Path, dataset: pathlib.Path):
    """The files of the first test patient, as the conversion found them."""
    from semicml_tf.files.layouts import catalogue
    from semicml_tf.records.dataset import DatasetInfo

    info = DatasetInfo.load(dataset)
    wanted = info.cases("test")[0].case_id
    cases = catalogue.choose(info.layout, volumes).find(volumes, info.modalities)
    return next(case for case in cases if case.case_id == wanted)


def _predict_over_grpc(
    volumes: pathlib.Path, dataset: pathlib.Path, models: pathlib.Path, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Segments a test patient from each modality alone, over gRPC and in process; returns the masks.

    Raises:
        UserError: the two ways do not give the same file.
    """
    case = _first_test_case(volumes, dataset)
    masks = []
    with served(models) as address:
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
