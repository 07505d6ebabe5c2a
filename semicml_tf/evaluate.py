"""Scores a run's networks patient by patient, beside two rows that read no network.

  python -m semicml_tf.evaluate --run=runs/demo                       the test patients
  python -m semicml_tf.evaluate --run=runs/demo --partition=validation    where there are no test patients
  python -m semicml_tf.evaluate --compare=runs/a,runs/b --names=A,B   one Markdown table of evaluated runs
  python -m semicml_tf.evaluate --compare=runs/before,runs/after --dataset=GROWN
                                                                      the same, scored on the data that have grown
  python -m semicml_tf.evaluate --run=runs/demo --relearning [--truth=DATASET]
                                                                      who taught whom, and how well
  python -m semicml_tf.evaluate --run=runs/demo --choose_postprocessing
                                                                      choose it on the validation patients
  python -m semicml_tf.evaluate --run=runs/demo --similarity          how alike both networks' maps are
  python -m semicml_tf.evaluate --run=runs/demo --write_labels        the teachers' soft labels, as NIfTI files

Every mask is brought back to the patient's own grid and compared there with the annotator's: DSC, IoU, PPV,
sensitivity, HD95, ASSD and surface DSC in mm, volume, and lesions one by one (docs/evaluation.md). Writes
metrics.json (everything), metrics.csv (a line per patient and method), table.txt, table.md and overlays.png, and for
python -m semicml_tf.report the folder cases: 8-bit images of the patients, see --case_images; --compare with --output
writes comparison.json and comparison.md.
"""

from __future__ import annotations

import contextlib
import copy
import pathlib
import shlex
import sys
from collections.abc import Sequence

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation.command_flags import define_flags  # noqa: F401  commandline finds the flags here
from semicml_tf.system import atomic_files, cpu, locks, quiet_import

POSITIONAL = ("run",)
AFTER_INTERRUPT = "Nothing was written: start the same command again."
_REPORTS = ("relearning", "similarity", "choose_postprocessing", "write_labels")
_FILES = ("metrics.json", "metrics.csv", "table.txt", "table.md", "overlays.png", "cases")


def _command(values: flags.FlagValues) -> str:
    given = [
        f"--{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.flag_values_dict().items()
        if value != values[name].default
    ]
    return shlex.join(["python", "-m", "semicml_tf.evaluate", *given])


def _compare(values: flags.FlagValues) -> None:
    from semicml_tf.evaluation import comparison

    paths = []
    for text in values.compare:
        path = pathlib.Path(text)
        if values.dataset:
            paths.append(_scored_on(values, path))
        else:
            paths.append(path if path.suffix == ".json" else path / "evaluation" / values.partition / "metrics.json")
    names = values.names or [pathlib.Path(text).name for text in values.compare]
    if not values.names and len(set(names)) < len(names):
        names = values.compare
    body = comparison.build(paths, names, values.failure_dice)
    text = comparison.markdown(body)
    if values.output:
        output = pathlib.Path(values.output)
        _check_output(output, comparison.FILES)
        with locks.writing(output), atomic_files.new_directory(output, overwrite=True) as staged:
            atomic_files.write_json(staged / "comparison.json", {"command": _command(values), **body})
            atomic_files.write_text(staged / "comparison.md", text)
    print(text, end="")


def _scored_on(values: flags.FlagValues, folder: pathlib.Path) -> pathlib.Path:
    """The metrics of a run on --dataset; it is scored there first, unless it has been already.

    Raises:
        UserError: the run has seen patients who are to be scored, or reads other images than those of the dataset.
    """
    from semicml_tf.evaluation import report
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.runs import seen_cases
    from semicml_tf.runs.run_folder import Run

    run = Run.load(folder)
    info = DatasetInfo.load(values.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir)
    own = run.data_hash == info.data_hash
    if not own and not values.allow_other_data:
        seen_cases.check(run, info, (values.partition,))
    output = folder / "evaluation" / (values.partition if own else f"{values.partition}-{info.data_hash[:12]}")
    path = output / "metrics.json"
    if path.exists():
        body = report.load(path)
        if (body["run"]["run_hash"], body["run"].get("best")) == (run.run_hash, run.best):
            return path
    each = copy.deepcopy(values)
    each.run, each.output, each.compare, each.allow_other_data = str(folder), str(output), [], True
    _evaluate(each)
    return path


def _check_output(output: pathlib.Path, files: Sequence[str] = _FILES) -> None:
    # An earlier evaluation is replaced; a folder that holds anything else is never touched.
    strange = sorted(item.name for item in output.iterdir() if item.name not in files) if output.is_dir() else []
    if strange:
        raise UserError(
            f"the output folder holds something else ({strange[0]})", path=output, remedy="Choose another --output"
        )


def _evaluate(values: flags.FlagValues) -> None:
    with contextlib.ExitStack() as cleared:
        _evaluate_run(values, cleared)


def _evaluate_run(values: flags.FlagValues, cleared: contextlib.ExitStack) -> None:
    from tqdm import tqdm

    from semicml_tf.evaluation import (
        case_images,
        data_provenance,
        overlay,
        postprocessing_choice,
        report,
        score_cases,
        segment,
        table,
        trivial_baselines,
    )
    from semicml_tf.evaluation.baseline_margin import beats_blind
    from semicml_tf.input.complete_cases import require_whole
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.records.shards import check_shards, read_cases
    from semicml_tf.runs.run_folder import Run

    run = Run.load(values.run).only(values.modalities)
    info = DatasetInfo.load(
        values.dataset or run.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir
    )
    if info.url:
        print(info.where)
    notes = data_provenance.check(run, info, values.partition, values.allow_other_data)
    if values.partition == "labelled":
        notes.append("These are the patients that the blind rows were fitted on and that training may have seen.")
    require_whole(info, ("labelled",))
    postprocessing = postprocessing_choice.load(run)
    notes += postprocessing_choice.notes(postprocessing)
    cases, labelled = data_provenance.cases_to_score(info, values.partition), info.cases("labelled")
    notes += data_provenance.one_patient_note(len(cases), values.partition)
    output = pathlib.Path(values.output or run.folder / "evaluation" / values.partition)
    cleared.enter_context(locks.writing(output))
    _check_output(output)
    check_shards(info, sorted({"labelled", values.partition}))

    quiet_import.tensorflow()
    progress = tqdm(read_cases(info, labelled), total=len(labelled), desc="fitting the blind rows", file=sys.stderr)
    ellipsoid, threshold = trivial_baselines.fit(progress, {name: info.normalisation[name] for name in run.modalities})
    segmenters = {
        name: segment.by_network(run.network(name), name, run.window, values.batch_size) for name in run.modalities
    }
    segmenters |= {
        trivial_baselines.ELLIPSOID_NAME: ellipsoid,
        trivial_baselines.threshold_name(threshold.modality): threshold,
    }
    cuts = {name: run.threshold(name) for name in run.modalities}
    panels = []
    images = cleared.enter_context(
        case_images.CaseImages(output, run.modalities, cuts, values.case_images, len(labelled))
    )

    def take(record, answers):
        panels.append(overlay.panel(record, run.modalities, answers))
        images.add(record, answers)

    results = score_cases.evaluate_predictions(
        tqdm(read_cases(info, cases), total=len(cases), desc=f"scoring {values.partition}", file=sys.stderr),
        segmenters,
        thresholds=cuts,
        postprocessing=postprocessing,
        surface_tolerance_mm=values.surface_tolerance_mm,
        jobs=values.jobs or cpu.available(),
        on_case=take,
    )
    body = report.build(
        command=_command(values),
        run=run,
        info=info,
        partition=values.partition,
        batch_size=values.batch_size,
        results=results,
        ellipsoid=ellipsoid,
        threshold=threshold,
        notes=notes,
        surface_tolerance_mm=values.surface_tolerance_mm,
        failure_dice=values.failure_dice,
    )
    body["postprocessing"] = {name: str(steps) for name, steps in postprocessing.items()}
    with atomic_files.new_directory(output, overwrite=True) as staged:
        atomic_files.write_json(staged / "metrics.json", body)
        atomic_files.write_text(staged / "metrics.csv", table.csv_text(body))
        atomic_files.write_text(staged / "table.txt", table.screen(body))
        atomic_files.write_text(staged / "table.md", table.summary_markdown(body))
        chosen = overlay.choose(panels)
        atomic_files.write_file(
            staged / "overlays.png", lambda stream: overlay.write_png(stream, chosen, run.modalities)
        )
        images.move_to(staged)
    print(table.screen(body))
    print(f"metrics: {output / 'metrics.json'}\noverlays: {output / 'overlays.png'}")
    if not values.output:
        told = "" if values.partition == "test" else f" --partition={values.partition}"
        print(f"a page to look at: python -m semicml_tf.report {shlex.quote(str(run.folder))}{told}")
    if values.require_margin is not None:
        failures = beats_blind(output / "metrics.json", values.require_margin)
        if failures:
            raise UserError(
                "; ".join(failures),
                path=output / "metrics.json",
                remedy="Train longer or on more labelled patients, or lower --require_margin",
            )


def _choose_postprocessing(values: flags.FlagValues) -> None:
    from tqdm import tqdm

    from semicml_tf.evaluation import data_provenance, postprocessing_choice
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.records.shards import check_shards, read_cases
    from semicml_tf.runs.run_folder import Run

    run = Run.load(values.run)
    info = DatasetInfo.load(
        values.dataset or run.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir
    )
    data_provenance.require(run, info)
    check_shards(info, ["validation"])
    cases = info.cases("validation")
    path = run.folder / postprocessing_choice.FILE_NAME
    with locks.writing(path):
        quiet_import.tensorflow()
        records = tqdm(read_cases(info, cases), total=len(cases), desc="trying post-processing", file=sys.stderr)
        body = postprocessing_choice.build(run, info, records, batch_size=values.batch_size, command=_command(values))
        atomic_files.write_json(path, body)
    print(f"{postprocessing_choice.screen(body)}\nchoice: {path}")


def _relearning(values: flags.FlagValues) -> None:
    from semicml_tf.diagnostics import relearning_report
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.runs.run_folder import Run

    def load(location: str) -> DatasetInfo:
        return DatasetInfo.load(location, dataset_access=values.dataset_access, cache_dir=values.cache_dir)

    run = Run.load(values.run)
    output = pathlib.Path(values.output or run.folder / "evaluation" / "relearning")
    _check_output(output, relearning_report.FILES)
    data = {"info": load(values.dataset or run.dataset), "truth": load(values.truth)} if values.truth else {}
    with locks.writing(output):
        body = relearning_report.build(run, command=_command(values), batch_size=values.batch_size, **data)
        print(relearning_report.write(body, output))
    print(f"report: {output / 'report.json'}")


def _similarity(values: flags.FlagValues) -> None:
    from semicml_tf.diagnostics import similarity_report
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.runs.run_folder import Run

    run = Run.load(values.run)
    output = pathlib.Path(values.output or run.folder / "evaluation" / "similarity")
    _check_output(output, similarity_report.FILES)
    info = DatasetInfo.load(
        values.dataset or run.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir
    )
    with locks.writing(output):
        body, png = similarity_report.build(run, info, command=_command(values))
        print(similarity_report.write(body, png, output))
    print(f"picture: {output / 'similarity.png'}")


def _write_labels(values: flags.FlagValues) -> None:
    from semicml_tf.diagnostics import label_files
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.runs.run_folder import Run

    run = Run.load(values.run)
    output = pathlib.Path(values.output or run.folder / "evaluation" / "labels")
    info = DatasetInfo.load(
        values.dataset or run.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir
    )
    with locks.writing(output):
        body = label_files.write(run, info, output, command=_command(values), batch_size=values.batch_size)
    print(f"labels of {len(body['cases'])} patients, {body['label']}: {output / label_files.FILE_NAME}")


def main(values: flags.FlagValues) -> None:
    """Evaluates a run, reports how it re-learned or how alike its maps are, or compares evaluated ones."""
    if values.truth and not values.relearning:
        raise UserError("--truth is read by --relearning alone", remedy="Pass --relearning, or leave --truth out")
    for name in _REPORTS:
        if values[name].value and (values.compare or not values.run):
            raise UserError(f"--{name} needs one run", remedy="Pass --run=FOLDER, without --compare")
        if values[name].value and values.require_margin is not None:
            raise UserError(f"--{name} makes no scores, which --require_margin is about", remedy="Leave one out")
    reports = [name for name in _REPORTS if values[name].value]
    if len(reports) > 1:
        raise UserError(f"expected --{reports[0]} or --{reports[1]}, got both", remedy="Leave one out")
    if values.choose_postprocessing:
        _choose_postprocessing(values)
    elif values.relearning:
        _relearning(values)
    elif values.similarity:
        _similarity(values)
    elif values.write_labels:
        _write_labels(values)
    elif values.compare:
        if values.run:
            raise UserError("expected --run or --compare, got both", remedy="Leave one out")
        _compare(values)
    elif values.run:
        _evaluate(values)
    else:
        raise UserError("no run given", remedy="Pass --run=FOLDER, or --compare=FOLDER,FOLDER")


if __name__ == "__main__":
    commandline.run("semicml_tf.evaluate")
