"""Training a run: checks of the data and the folder, devices and workers, and then the trainer."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping

from semicml_tf.configuration import flagfile_lines
from semicml_tf.errors import UserError, stop_signals
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import initialisation, run_folder
from semicml_tf.runs.config import TrainConfig
from semicml_tf.runs.initialisation import Initialisation
from semicml_tf.runs.run_folder import Best
from semicml_tf.storage import streaming
from semicml_tf.system import atomic_files, locks, quiet_import
from semicml_tf.training import preconditions
from semicml_tf.training.distributed.cluster import ALONE, Workers
from semicml_tf.training.distributed.rendezvous import meet

# What flags.flagfile leaves out: whoever repeats the run chooses these again, or the settings hold their values.
_NOT_REPEATED = {"output", "resume", "dry_run", "recipe", "worker_wait_minutes", "picture_every"}


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a training has made.

    Attributes:
        folder: the run's folder; None after a dry run.
        epochs_done: epochs of all stages that are done.
        best: the best network of each modality: mean validation DSC, threshold, step and stage. Empty after a dry run,
            and on workers other than the chief.
    """

    folder: pathlib.Path | None
    epochs_done: int
    best: Mapping[str, Best]

    @property
    def dice(self) -> dict[str, float]:
        """Best mean validation DSC by modality."""
        return {name: entry["dice"] for name, entry in self.best.items()}

    @property
    def thresholds(self) -> dict[str, float | dict[str, float]]:
        """Probability from which a voxel is foreground, by modality; of several regions, by region."""
        return {name: entry["threshold"] for name, entry in self.best.items() if "threshold" in entry}


def train(config: TrainConfig, *, end: Callable[[int], object] | None = None) -> TrainResult:
    """Trains a run, or resumes it; with ``dry_run``, prints its plan and writes nothing.

    Args:
        end: ends the process. It is called with the number of a signal that comes while native code compiles the first
            step. Without it, such a signal waits until the native code returns.

    Raises:
        UserError: the data, the folder or the devices do not allow it, or a loss is not finite.
        Interrupted: a signal asked the run to stop; its state is saved.
    """
    # Of several workers the chief alone writes.
    writes = not config.dry_run and Workers.from_environment().chief
    with locks.writing_in(config.output) if writes else contextlib.nullcontext():
        return _train(config, end)


def _train(config: TrainConfig, end: Callable[[int], object] | None) -> TrainResult:
    info = DatasetInfo.load(config.dataset, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
    if info.url:
        print(info.where)
    settings, method = config.run_settings, config.method_settings
    job = Workers.from_environment()
    # A dry run stays in this process.
    workers = ALONE if config.dry_run else job
    data = preconditions.check(config, info, workers, job)
    partitions = data.partitions
    flags = flagfile(config, info)

    tf = quiet_import.tensorflow()

    from semicml_tf.records.shards import check_records, check_shards
    from semicml_tf.training import dry_run
    from semicml_tf.training import trainer as trainers
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.stages import Stages

    check_shards(info, partitions)
    if not info.streamed:  # else every record would be fetched once more
        check_records(info, partitions)
    initial = Initialisation.load(config.init_from, config.init_encoder_from, info)
    if initial is not None:
        initial.check(info, settings.spec_for(info.labels, info.spacing_mm))
    folder = pathlib.Path(config.output or "")
    begun = not config.dry_run and bool(locks.contents(folder))
    if workers.count > 1:
        if begun and is_finished(folder, sum(settings.epochs)):
            # A worker that a cluster starts again after the others are done would wait for them in vain.
            return TrainResult(folder, sum(settings.epochs), {})
        print(f"worker {workers.number} of {workers.count}: waiting for the others", flush=True)
        meet(workers, 60.0 * config.worker_wait_minutes)
    share_cores(len(info.modalities))
    with _ended_at_once() if workers.count > 1 else contextlib.nullcontext():
        strategy = strategy_for(config.devices, workers)
    preconditions.check_replicas(config, strategy.num_replicas_in_sync)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.dry_run:
        stages = Stages(info, settings, method, strategy, jit_compile=config.jit_compile)
        scores = {name: entry["dice"] for name, entry in initial.best.items()} if initial else {}
        if initial:
            initial.networks(settings.spec_for(info.labels, info.spacing_mm))
        with explained(info, partitions):
            for line in dry_run.report(
                info, settings, stages, strategy, partitions=partitions, scores=scores, workers=job.count
            ):
                print(line, flush=True)
        return TrainResult(None, 0, {})

    def restore() -> None:
        # Refused or stopped before the first checkpoint: the next command must find the folder as it was.
        if workers.chief and not begun and not run_folder.checkpoint_file(folder).exists():
            for item in locks.contents(folder):
                shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink(missing_ok=True)

    def restore_and_end(number: int) -> None:
        restore()
        end(number)

    trainer = trainers.Trainer(
        info,
        folder,
        settings,
        method,
        strategy,
        workers=workers,
        initial=initial,
        left_out=data.left_out,
        incomplete=data.incomplete,
        picture_every=config.picture_every,
        jit_compile=config.jit_compile,
        end=restore_and_end if end else None,
    )
    try:
        trainer.agree()
        if workers.chief:
            atomic_files.write_text(folder / "flags.flagfile", flags)
        with explained(info, partitions):
            position = trainer.run()
    except (UserError, KeyboardInterrupt):
        restore()
        raise
    return TrainResult(folder, sum(settings.epochs), position.best if workers.chief else {})


def is_finished(folder: pathlib.Path, epochs: int) -> bool:
    """Whether a run of so many epochs in all has written all of its files."""
    if not (folder / run_folder.FILE_NAME).exists():
        return False
    done = run_folder.read_record(folder, "Delete it").get("epochs_done") == epochs
    return done and run_folder.picture_file(folder, epochs - 1).exists()


def flagfile(config: TrainConfig, info: DatasetInfo) -> str:
    """Text of a flagfile that reproduces the run. Its paths are absolute.

    Raises:
        UserError: a value of an option does not fit into one line.
    """
    absolute = {
        name: str(pathlib.Path(getattr(config, name)).absolute())
        for name in ("cache_dir", "init_from")
        if getattr(config, name)
    }
    encoders = initialisation.absolute(config.init_encoder_from)
    config = dataclasses.replace(config, dataset=info.location, init_encoder_from=encoders, **absolute)
    left_out = _NOT_REPEATED | ({"dataset_access"} if not info.url else set())
    left_out |= {name for name in ("devices",) if not config.devices}
    names = [field.name for field in dataclasses.fields(config) if field.name not in left_out]
    head = "# python -m semicml_tf.train --flagfile=THIS --output=NEW_RUN repeats this run."
    return "\n".join([head, *flagfile_lines(config, names)]) + "\n"


@contextlib.contextmanager
def _ended_at_once() -> Iterator[None]:
    """While native code waits for other machines, Python handles no signal: let signals end the process."""
    former = {number: signal.signal(number, signal.SIG_DFL) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def explained(info: DatasetInfo, partitions) -> Iterator[None]:
    """Names the record of a streamed dataset that TensorFlow cannot read; records of others are checked before."""
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
