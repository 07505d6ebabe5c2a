"""The steps of an experiment as jobs: volumes, a dataset for each draw, and then a run for each cell."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.conversion.config import WITHOUT_EFFECT
from semicml_tf.conversion.splitting.split import read as read_split
from semicml_tf.errors import UserError
from semicml_tf.experiments import grid, input_record
from semicml_tf.experiments.plan import Plan
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.workers import Job
from semicml_tf.records import dataset
from semicml_tf.runs import initialisation, run_folder
from semicml_tf.runs.settings import MEANING, differences, recorded_flags

VOLUMES = "volumes"


def jobs_of(plan: Plan, threads: int) -> list[tuple[Job, Cell | None]]:
    """The remaining jobs in order; each run with its cell.

    Args:
        plan: of the experiment, whose splits are written. In a cross-validation, the datasets exist.
        threads: processes that a conversion may start.

    Raises:
        UserError: the volumes or a dataset exist, but were made with other flags.
    """
    left = [cell for cell in plan.cells if not cell.finished and not cell.stale]
    jobs: list[tuple[Job, Cell | None]] = []
    if plan.folds is None:
        jobs += [(job, None) for job in _volumes_jobs(plan) if left]
    converted = {}
    for cell in plan.cells:
        if cell.data_name not in converted:
            converted[cell.data_name] = _check_dataset(plan, cell)
    for cell in left:
        if not converted[cell.data_name]:
            jobs.append((_dataset_job(plan, cell, threads), None))
            converted[cell.data_name] = True
        jobs.append((_run_job(plan, cell), cell))
    return jobs


def data_jobs(plan: Plan, threads: int) -> list[Job]:
    """The jobs before the folds of a cross-validation are drawn: the conversion of each set of modalities.

    Args:
        plan: of the experiment.
        threads: processes that a conversion may start.

    Raises:
        UserError: the volumes or a dataset exist, but were made with other flags.
    """
    if plan.folds is None or plan.given is not None or all(cell.finished or cell.stale for cell in plan.cells):
        return []
    jobs = _volumes_jobs(plan)
    for cell in {plan.whole(cell): cell for cell in plan.cells}.values():
        if not _check_whole(plan, cell):
            jobs.append(_conversion_job(plan, cell, plan.whole(cell), threads))
    return jobs


def _record(plan: Plan, name: str) -> pathlib.Path:
    return plan.output / "made" / f"{name}.json"


def _check_volumes(plan: Plan) -> bool:
    config = plan.study.config("phantom", f"--output={plan.volumes}")
    product = plan.volumes / "phantom.json"
    now = input_record.flags_of(config, without=("output", "overwrite"))
    input_record.check_or_note(_record(plan, VOLUMES), product, now, type(config))
    return not product.exists()


def _volumes_jobs(plan: Plan) -> list[Job]:
    """The job that makes the phantom's volumes; [] if they exist or are given."""
    if plan.source is not None or not _check_volumes(plan):
        return []
    words = plan.study.call("phantom", f"--output={plan.volumes}")
    return [Job(VOLUMES, (words,), plan.output / "volumes.log")]


def _convert_flags(plan: Plan, cell: Cell) -> tuple[str, ...]:
    """The flags that a cell's conversion adds to the study's, among them those of its modalities."""
    convert = plan.study.options("convert")
    reference = (
        convert["reference_modality"] if convert["reference_modality"] in cell.modalities else cell.modalities[0]
    )
    normalisation = [text for text in convert["normalisation"] if text.partition("=")[0] in cell.modalities]
    return (
        f"--input={plan.volumes}",
        f"--split={plan.whole_split_file if plan.folds else plan.split_file(cell)}",
        # In the flagfile, these are flags of the cross-validation.
        *(("--folds=", "--stratify=none") if plan.folds else ()),
        f"--modalities={','.join(cell.modalities)}",
        f"--reference_modality={reference}",
        f"--normalisation={','.join(normalisation)}",
    )


def _check_dataset(plan: Plan, cell: Cell) -> bool:
    if plan.folds:
        return _check_view(plan, cell)
    return _check_conversion(plan, cell, plan.dataset(cell), plan.split_file(cell))


def _check_whole(plan: Plan, cell: Cell) -> bool:
    return _check_conversion(plan, cell, plan.whole(cell), plan.whole_split_file)


def _check_conversion(plan: Plan, cell: Cell, folder: pathlib.Path, split: pathlib.Path) -> bool:
    config = plan.study.config("convert", *_convert_flags(plan, cell), f"--output={folder}")
    product = folder / dataset.FILE_NAME
    now = input_record.flags_of(config, without=(*WITHOUT_EFFECT, "input", "split"))
    now |= {"split_hash": _split_hash(split)}
    if plan.source is not None:
        now |= {"input": str(plan.source.resolve())}
    input_record.check_or_note(_record(plan, folder.name), product, now, type(config))
    return product.exists()


def _check_view(plan: Plan, cell: Cell) -> bool:
    product = plan.dataset(cell) / dataset.FILE_NAME
    now = {
        "view_of": dataset.DatasetInfo.load(plan.whole(cell)).data_hash,
        "split_hash": _split_hash(plan.split_file(cell)),
    }
    input_record.check_or_note(_record(plan, cell.data_name), product, now)
    return product.exists()


def _split_hash(path: pathlib.Path) -> str:
    return read_split(path).to_json()["hash"]


def _dataset_job(plan: Plan, cell: Cell, threads: int) -> Job:
    folder = plan.dataset(cell)
    if plan.folds is None:
        return _conversion_job(plan, cell, folder, threads)
    words = (
        "-m",
        "semicml_tf.conversion.view",
        f"--dataset={plan.whole(cell)}",
        f"--split={plan.split_file(cell)}",
        f"--output={folder}",
        f"--cases_per_shard={plan.study.options('convert')['cases_per_shard']}",
    )
    return Job(_dataset_name(cell), (words,), folder.with_name(f"{folder.name}.log"))


def _conversion_job(plan: Plan, cell: Cell, folder: pathlib.Path, threads: int) -> Job:
    words = plan.study.call(
        "convert", *_convert_flags(plan, cell), f"--output={folder}", f"--workers={threads}", "--report="
    )
    return Job(f"dataset {folder.name}", (words,), folder.with_name(f"{folder.name}.log"), after=VOLUMES)


def _dataset_name(cell: Cell) -> str:
    return f"dataset {cell.data_name}"


def finished_text(plan: Plan) -> str:
    """A sentence with the number of finished runs."""
    return f"{plan.output}: {sum(cell.finished for cell in plan.cells)} of {len(plan.cells)} runs finished"


def cell_name(cell: Cell) -> str:
    """The cell's name in messages."""
    return f"row '{cell.row}' ({cell.data_name})"


def train_words(plan: Plan, cell: Cell) -> tuple[str, ...]:
    """The command that trains a cell's run, without the interpreter."""
    return plan.study.call(
        "train",
        *cell.flags,
        f"--seed={cell.seed}",
        f"--dataset={plan.dataset(cell)}",
        f"--output={cell.folder}",
        "--resume",
    )


def _run_job(plan: Plan, cell: Cell) -> Job:
    commands = [] if _is_trained(plan, cell) else [train_words(plan, cell)]
    of_run = (f"--run={cell.folder}", f"--dataset={plan.dataset(cell)}")
    if plan.chooses_postprocessing:
        commands.append(plan.study.call("evaluate", *of_run, "--choose_postprocessing"))
    commands.append(
        plan.study.call(
            "evaluate",
            *of_run,
            f"--output={cell.metrics_path.parent}",
            f"--partition={cell.partition}",
            # The study's --modalities may name more than the run has.
            f"--modalities={','.join(cell.modalities)}",
        )
    )
    log = cell.folder.with_name(f"{cell.folder.name}.log")
    return Job(cell_name(cell), tuple(commands), log, after=_dataset_name(cell))


def _run_json(cell: Cell) -> dict | None:
    try:
        return run_folder.read_record(cell.folder)
    except UserError:  # not started, or damaged; training reports damage
        return None


def _is_trained(plan: Plan, cell: Cell) -> bool:
    body = _run_json(cell)
    return body is not None and body.get("epochs_done") == sum(grid.settings_as_flags(plan.study, cell)["epochs"])


def with_stale_cells(plan: Plan) -> tuple[Plan, list[str]]:
    """Marks stale cells, whose folders have runs of other settings or data, and returns a message for each."""
    hashes = plan.hashes()
    defaults = grid.defaults()
    cells, messages = [], []
    for cell in plan.cells:
        cells.append(cell)
        body = _run_json(cell)
        if body is None:
            continue
        changed = differences(recorded_flags(body), grid.settings_as_flags(plan.study, cell), defaults)
        if body.get("meaning_of_settings", 1) != MEANING:
            changed.append("another version of this package, in which the same flags had another meaning")
        config = grid.config_of(plan.study, cell.flags)
        begun, begins = body.get("initial_run"), config.init_from
        if (begun and pathlib.Path(begun).absolute()) != (begins and pathlib.Path(begins).absolute()):
            changed.append(f"--init_from={begun or ''}, now {begins or ''}")
        begun, begins = (
            ", ".join(texts)
            for texts in (body.get("initial_encoders", ()), initialisation.absolute(config.init_encoder_from))
        )
        if begun != begins:
            changed.append(f"--init_encoder_from={begun}, now {begins}")
        if cell.data_name in hashes and body.get("data_hash") != hashes[cell.data_name]:
            changed.append(f"data of hash {str(body.get('data_hash'))[:12]}, now {hashes[cell.data_name][:12]}")
        if changed:
            cells[-1] = dataclasses.replace(cell, stale=True)
            messages.append(
                f"{cell_name(cell)}: {cell.folder} was started with {'; '.join(changed)}. Pass the same settings, or "
                "another --output"
            )
    return dataclasses.replace(plan, cells=tuple(cells)), messages
