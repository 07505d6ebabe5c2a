"""Trains one network per modality on a converted dataset.

  python -m semicml_tf.train --flagfile=configs/sts_ct_pet.flags --dataset=DATASET --output=RUN

RUN gets checkpoints, history.csv, training.png (its curves), TensorBoard scalars, pictures, run.json and
flags.flagfile, which reproduces it. --dry_run tells the plan, takes two steps of each stage and writes nothing.
Ctrl-C and SIGTERM end the step under way, and save the state. The same command with --resume continues a run that was
stopped or killed; --resume may be given from the start.

Several machines train one run together where each is started with TF_CONFIG set (configs/cluster has a Kubernetes
job and a Slurm script): DATASET and RUN must be the same folders to all of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import signal
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError, stop_signals
from semicml_tf.input.complete_cases import own_cases, require_whole, whole_cases
from semicml_tf.methods import catalogue
from semicml_tf.methods.settings import MethodSettings
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder, seen_cases
from semicml_tf.runs.settings import TrainSettings, check
from semicml_tf.storage import access, streaming
from semicml_tf.system import atomic_files, locks, quiet_import
from semicml_tf.training import from_flags
from semicml_tf.training.distributed.cluster import ALONE, Workers
from semicml_tf.training.distributed.rendezvous import meet

AFTER_INTERRUPT = "The same command with --resume continues from the last checkpoint, if there is one."
_MOST_USED = ("dataset", "output", "epochs", "method", "window", "devices", "resume", "dry_run")
_LONGEST_WAIT = 10080  # minutes; a week


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    flags.DEFINE_string("dataset", None, "folder made by semicml_tf.convert, or its URL", flag_values=values)
    commandline.define(access.DatasetAccess, values)
    flags.DEFINE_string("output", None, "folder of the run", flag_values=values)
    flags.DEFINE_boolean("resume", False, "continue a run that was stopped or killed, or begin it", flag_values=values)
    flags.DEFINE_string(
        "init_from",
        None,
        "run whose best networks to begin with; also on data that have grown, if it was trained on nobody who is "
        "validated or tested on now",
        flag_values=values,
    )
    flags.DEFINE_list("devices", [], "e.g. gpu:0,gpu:1; none: all GPUs, else one CPU", flag_values=values)
    flags.DEFINE_float("worker_wait_minutes", 30.0, "how long workers wait for each other", flag_values=values)
    flags.DEFINE_boolean("deterministic", False, "bit-equal repetitions, at some cost in speed", flag_values=values)
    flags.DEFINE_boolean("jit_compile", False, "compile the step by XLA; one device alone", flag_values=values)
    flags.DEFINE_boolean(
        "dry_run",
        False,
        "print data, networks, steps and memory, take two steps of each stage, and write nothing; needs no --output",
        flag_values=values,
    )
    flags.DEFINE_integer("picture_every", 5, "epochs between two pictures of validation slices", flag_values=values)
    from_flags.define(values)


def help_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """The flags by the title under which ``--help`` shows them: first what every run needs."""
    groups = {"Flags that every run needs": list(_MOST_USED)}
    left = [name for name in names if name not in _MOST_USED]
    of_settings = from_flags.by_topic()
    groups["Flags of the machine and the folders"] = [n for n in left if not any(n in t for t in of_settings.values())]
    groups |= {f"Flags of {topic}": [name for name in left if name in held] for topic, held in of_settings.items()}
    return groups


def _flagfile(values: flags.FlagValues, info: DatasetInfo, train: TrainSettings, method: MethodSettings) -> str:
    """Text of a flagfile that reproduces the run."""
    held = {**dataclasses.asdict(train), **dataclasses.asdict(method)}
    held |= {"dataset": info.location, "deterministic": values.deterministic, "jit_compile": values.jit_compile}
    held |= {"dataset_access": values.dataset_access} if info.url else {}
    held |= {"cache_dir": str(pathlib.Path(values.cache_dir).absolute())} if values.cache_dir else {}
    held |= {"devices": values.devices} if values.devices else {}
    held |= {"init_from": str(pathlib.Path(values.init_from).absolute())} if values.init_from else {}
    lines = ["# python -m semicml_tf.train --flagfile=THIS --output=NEW_RUN repeats this run."]
    lines += [f"--{name}={_flag_text(value)}" for name, value in held.items()]
    return "\n".join(lines) + "\n"


def _check_initial(initial, info: DatasetInfo, train: TrainSettings) -> None:
    """Refuses a run to begin with that has other networks, or has seen patients who are scored in these data."""
    for what, theirs, ours in (
        ("modalities", initial.modalities, info.modalities),
        ("window", initial.window, train.window),
        ("width", initial.width, train.width),
    ):
        if theirs != ours:
            raise UserError(
                f"expected a run with the same {what} to begin with, got {theirs} for {ours}",
                path=initial.folder,
                remedy="Choose another --init_from, or set the flags to its values",
            )
    seen_cases.check(initial, info)


def _is_finished(folder: pathlib.Path, train: TrainSettings) -> bool:
    epochs = sum(train.epochs)
    if not (folder / run_folder.FILE_NAME).exists():
        return False
    done = run_folder.read_record(folder, "Delete it").get("epochs_done") == epochs
    return done and run_folder.picture_file(folder, epochs - 1).exists()


def _flag_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _check_folder(values: flags.FlagValues) -> None:
    """Refuses a folder that holds something, unless the run is to go on."""
    folder = pathlib.Path(values.output)
    if not values.resume and folder.exists() and (not folder.is_dir() or locks.contents(folder)):
        raise UserError(
            "the run's folder is not empty",
            path=folder,
            remedy="Pass --resume to go on with it, or choose another --output",
        )


def _needs_unlabelled(train: TrainSettings) -> bool:
    return any(catalogue.METHODS[name].needs_unlabelled for name in train.method)


def _check_cases(info: DatasetInfo, train: TrainSettings) -> tuple[list[str], int]:
    """The partitions that are read, each once (one may feed both streams), and how many unlabelled cases are no use."""
    unlabelled = train.unlabelled_partitions if _needs_unlabelled(train) else ()
    used = list(dict.fromkeys(("labelled", *unlabelled, "validation")))
    for partition in used:
        info.cases(partition)
    require_whole(info, ("labelled", "validation"))
    whole, lacking = whole_cases(info, unlabelled)
    if lacking:
        print(
            f"left out of the unlabelled stream: {len(lacking)} of {len(whole) + len(lacking)} cases, which lack a "
            "modality"
        )
    return used, len(lacking)


def _check_shards_suffice(info: DatasetInfo, train: TrainSettings, workers: int) -> None:
    """Refuses workers that would find no shard of a stream for themselves, in whichever stage."""
    for partitions in (("labelled",), *([train.unlabelled_partitions] if _needs_unlabelled(train) else [])):
        own_cases(info, partitions, (0, workers))


def _refuse_xla(devices: int) -> NoReturn:
    raise UserError(
        f"--jit_compile works on one device, got {devices}",
        remedy="Leave it out, or train in one process with one device in --devices",
    )


@contextlib.contextmanager
def _ended_at_once():
    """While native code waits for other machines, signals end the process by themselves: Python would not hear them."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _explained(info: DatasetInfo, partitions: Sequence[str]):
    """Names the record of a streamed dataset that TensorFlow cannot read; those of others are checked before."""
    if not info.streamed:
        yield
        return
    errors = quiet_import.tensorflow().errors
    with streaming.explained(info.url):
        try:
            yield
        except (errors.InvalidArgumentError, errors.DataLossError, errors.OutOfRangeError):
            from semicml_tf.records.shards import check_records

            check_records(info, partitions)
            raise


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    # Of several machines the chief alone writes.
    writes = values.output and not values.dry_run and Workers.from_environment().chief
    with locks.writing_in(values.output) if writes else contextlib.nullcontext():
        _train(values)


def _train(values: flags.FlagValues) -> None:
    for name in ("dataset",) if values.dry_run else ("dataset", "output"):
        if not values[name].value:
            raise UserError(f"expected --{name}, got none", remedy="See --help")
    train, method = from_flags.settings_from(values)
    info = DatasetInfo.load(values.dataset, dataset_access=values.dataset_access, cache_dir=values.cache_dir)
    if info.url:
        print(info.where)
    check(train, method, info.modalities)
    if catalogue.METHODS[train.method[0]].needs_scores(method) and not values.init_from:
        raise UserError(
            f"{train.method[0]} begins with a choice by validation scores, and there are none yet",
            remedy="Train another stage first, start from a run with --init_from, or set --teacher_modality",
        )
    job = Workers.from_environment()
    # A dry run stays in this process.
    workers = ALONE if values.dry_run else job
    if not values.dry_run:
        _check_folder(values)
    if not 0 < values.worker_wait_minutes <= _LONGEST_WAIT:
        raise UserError(
            f"expected --worker_wait_minutes above 0 and up to {_LONGEST_WAIT}, got {values.worker_wait_minutes}",
            remedy="Correct --worker_wait_minutes",
        )
    if values.jit_compile and max(len(values.devices), workers.count) > 1:
        _refuse_xla(max(len(values.devices), workers.count))
    used, lacking = _check_cases(info, train)
    if train.worker_data == "own" and job.count > 1:
        _check_shards_suffice(info, train, job.count)

    tf = quiet_import.tensorflow()

    from semicml_tf.records.shards import check_records, check_shards
    from semicml_tf.training import dry_run
    from semicml_tf.training import trainer as trainers
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.stages import Stages

    check_shards(info, used)
    if not info.streamed:  # else every record would be fetched once more
        check_records(info, used)
    initial = run_folder.Run.load(values.init_from) if values.init_from else None
    if initial is not None:
        _check_initial(initial, info, train)
    folder = pathlib.Path(values.output or "")
    begun = not values.dry_run and bool(locks.contents(folder))
    if workers.count > 1:
        if begun and _is_finished(folder, train):
            # A worker that a cluster starts again after the others are done would wait for them in vain.
            print(f"run: {folder} is finished")
            return
        print(f"worker {workers.number} of {workers.count}: waiting for the others", flush=True)
        meet(workers, 60.0 * values.worker_wait_minutes)
    share_cores(len(info.modalities))
    with _ended_at_once() if workers.count > 1 else contextlib.nullcontext():
        strategy = strategy_for(values.devices, workers)
    if values.jit_compile and strategy.num_replicas_in_sync > 1:
        _refuse_xla(strategy.num_replicas_in_sync)
    fewest = min(train.labelled_batch, train.unlabelled_batch if _needs_unlabelled(train) else train.labelled_batch)
    if fewest < strategy.num_replicas_in_sync:
        raise UserError(
            f"expected a slice of each stream for each of {strategy.num_replicas_in_sync} devices, got {fewest}",
            remedy="Raise --labelled_batch and --unlabelled_batch, or name fewer --devices",
        )
    if values.deterministic:
        tf.config.experimental.enable_op_determinism()
    if values.dry_run:
        stages = Stages(info, train, method, strategy, jit_compile=values.jit_compile)
        scores = {name: entry["dice"] for name, entry in initial.best.items()} if initial else {}
        with _explained(info, used):
            plan = dry_run.report(info, train, stages, strategy, partitions=used, scores=scores, workers=job.count)
            for line in plan:
                print(line, flush=True)
        return
    trainer = trainers.Trainer(
        info,
        folder,
        train,
        method,
        strategy,
        workers=workers,
        initial=initial,
        left_out=lacking,
        picture_every=values.picture_every,
        jit_compile=values.jit_compile,
    )
    try:
        trainer.agree()
        if workers.chief:
            atomic_files.write_text(folder / "flags.flagfile", _flagfile(values, info, train, method))
        with _explained(info, used):
            position = trainer.run()
    except (UserError, KeyboardInterrupt):
        # Refused or stopped before the first checkpoint: the next command must find the folder as it was.
        if workers.chief and not begun and not run_folder.checkpoint_file(folder).exists():
            for item in locks.contents(folder):
                shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink(missing_ok=True)
        raise
    for name, entry in position.best.items() if workers.chief else ():
        print(f"{name}: best mean validation Dice {entry['dice']:.3f} at step {entry['step']} ({entry['stage']})")
    print(f"run: {folder}")


if __name__ == "__main__":
    commandline.run("semicml_tf.train")
