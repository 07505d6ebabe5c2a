"""The training loop: trains the stages in their order, and resumes an interrupted run."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from typing_extensions import TypedDict

from semicml_tf.errors import Interrupted, UserError
from semicml_tf.input.complete_cases import training_cases
from semicml_tf.methods.base import Method
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder, seen_cases
from semicml_tf.runs import settings as run_settings
from semicml_tf.runs.initialisation import Initialisation
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.system import json_files
from semicml_tf.system.json_files import Count, Positive
from semicml_tf.training import checkpoint, memory
from semicml_tf.training.checkpoint_manager import Keeper
from semicml_tf.training.distributed.cluster import ALONE, Workers
from semicml_tf.training.distributed.consensus import Together
from semicml_tf.training.distributed.replica_statistics import OwnStatistics
from semicml_tf.training.monitoring.progress import ProgressLine
from semicml_tf.training.monitoring.run_log import RunRecord
from semicml_tf.training.stages import Stages
from semicml_tf.training.step import Means, Speed, rates
from semicml_tf.training.stop_request import StopRequest
from semicml_tf.training.validation import Validated, Validator


class _Row(TypedDict):
    epoch: Count
    stage: str
    step: Count


class _MeansState(TypedDict):
    count: Positive
    sums: dict[str, float]


class _Stored(TypedDict, total=False):
    """A `Position` as a checkpoint stores it."""

    stage: Count
    step: Count
    rows: list[_Row]
    best: dict[str, run_folder.Best]
    scores: dict[str, float]
    means: _MeansState | None


@dataclasses.dataclass
class Position:
    """The progress of a run. Each checkpoint stores all of it.

    Attributes:
        stage: number of the current stage.
        step: completed steps of this stage.
        rows: rows of the history, one per epoch.
        best: best network of each modality, as in `run.json`.
        scores: best validation Dice of each modality when the stage began. A resumed method chooses by them again.
        means: state of the running means of the unfinished epoch.
    """

    stage: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: dict[str, dict] = dataclasses.field(default_factory=dict)
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    means: dict[str, Any] | None = None


class Trainer:
    """Trains the stages of a run and writes the run's folder.

    Args:
        info: the converted data.
        folder: the run's folder.
        train, method: the checked settings of the training and of the method.
        strategy: the devices to train on.
        workers: the cooperating workers, and the index of this worker. Only the chief writes to the folder.
        initial: the runs whose weights are the initial weights.
        left_out: number of skipped unlabelled cases, for `run.json`.
        incomplete: whether a case that may train lacks a modality.
        picture_every: epochs between two pictures. The last epoch of a stage always gets a picture.
        jit_compile: whether XLA compiles the step. XLA needs a single device.
        end: ends the process while native code blocks the signal handler; see `StopRequest`.

    Raises:
        UserError: the folder's checkpoint cannot be read, or belongs to other settings or data. With several workers,
            `agree` raises this error instead, so that no worker waits for another one.
    """

    def __init__(
        self,
        info: DatasetInfo,
        folder: pathlib.Path,
        train: TrainSettings,
        method: MethodSettings,
        strategy: tf.distribute.Strategy,
        *,
        workers: Workers = ALONE,
        initial: Initialisation | None = None,
        left_out: int = 0,
        incomplete: bool = False,
        picture_every: int = 5,
        jit_compile: bool = False,
        end: Callable[[int], object] | None = None,
    ):
        self._info, self._folder, self._train, self._method, self._strategy = info, folder, train, method, strategy
        self._together = Together(workers, strategy, folder)
        self._workers, self._initial, self._picture_every = workers, initial, max(picture_every, 1)
        self._stages = Stages(info, train, method, strategy, workers, jit_compile=jit_compile)
        self._hash = run_settings.run_hash(
            train, method, info.data_hash, initial.run_hash if initial else None, incomplete=incomplete
        )
        asked = {
            "modalities": list(info.modalities),
            **({} if info.labels.is_plain else {"labels": info.labels.to_json()}),
            "data_hash": info.data_hash,
            **(initial.record(folder) if initial else {"initial_run": None}),
            "settings": run_settings.as_flags(train, method),
        }
        self._keeper = Keeper(folder, self._hash, workers.chief, asked)
        self._stored, self._refusal = None, None
        try:
            self._stored = self._stored_position()
        except UserError as error:
            self._refusal = error
            if workers.count == 1:
                raise
        self._validator = Validator(info, train.patch, train.threshold)
        self._record = RunRecord(
            folder,
            {
                "dataset": info.location,
                "run_hash": self._hash,
                "window": train.window,
                "width": train.width,
                "network": train.spec_for(info.labels, info.spacing_mm).to_json(),
                **({} if info.labels.is_plain else {"labels": info.labels.to_json()}),
                "data": seen_cases.seen(info, initial.runs if initial else ()).to_json(),
                "unlabelled_left_out": left_out,
                "steps_per_epoch": self._stages.epoch_steps,
                "devices": strategy.num_replicas_in_sync,
                "workers": workers.count,
                **asked,
                "meaning_of_settings": run_settings.MEANING,
            },
        )
        self._own_statistics: OwnStatistics | None = None
        # A worker that ended alone would leave the others waiting.
        self._stop = StopRequest(has_work=workers.count > 1, end=end)

    def _stored_position(self) -> Position | None:
        stored = self._keeper.position()
        if stored is None:
            return None
        how = {"path": self._keeper.path, "remedy": checkpoint.REMEDY}
        held = json_files.of_value(stored, _Stored, what=checkpoint.WHAT, **how)
        position = Position(**{name: held[name] for name in _Stored.__annotations__ if name in held})
        is_in_plan = position.stage < len(self._train.method) and (
            position.step <= self._stages.plan(position.stage).steps
        )
        if not is_in_plan or not {*position.best, *position.scores} <= set(self._info.modalities):
            raise UserError(f"expected {checkpoint.WHAT} of this run, but its position belongs to another run", **how)
        return position

    def agree(self) -> None:
        """Checks that all workers have the same settings and the same position. Nothing is written before this check.

        Raises:
            UserError: the workers differ, or a worker cannot read the checkpoint.
        """
        position = self._stored or Position()
        start = [self._hash, position.stage, position.step]
        if self._initial and not self._stored:
            start += self._initial.state()
        with self._together.explained():
            try:
                self._together.require_same(json.dumps(start), self._keeper.path)
            except UserError as error:
                raise self._refusal or error from error
        if self._refusal:
            raise self._refusal

    def run(self) -> Position:
        """Trains from the last checkpoint, or from the beginning, to the end.

        Raises:
            Interrupted: a signal stopped the run. Its state is saved.
            UserError: a weight or a loss is not finite.
        """
        position = self._stored or Position()
        resumed_stage = position.stage if self._stored else None
        if position.rows:
            self._tell(position)
        self._keeper.clear_left()
        total, before = self._stages.total_steps, self._stages.first_step(position.stage) + position.step
        method: Method | None = None
        shown = ProgressLine(total, before, sum(self._train.epochs), silent=not self._together.chief)
        with self._stop, self._together.explained(), memory.explained(), shown as line:
            for number in range(position.stage, len(self._train.method)):
                if number != position.stage:
                    position.stage, position.step = number, 0
                restored = resumed_stage == number
                if not restored:
                    best = position.best or (self._initial.best if self._initial else {})
                    position.scores = {name: entry["dice"] for name, entry in best.items()}
                method = self._make(position, method, restored=restored)
                if restored and position.rows and self._together.chief:
                    self._complete_record(method, position)
                if not restored:
                    if method.fusion:
                        self._validated(method)
                        self._fit(method)
                    self._keeper.save_teachers(number, method)
                self._train_stage(method, position, line)
                if number + 1 < len(self._train.method):
                    for name, network in method.deployed.items():
                        path = run_folder.stage_weights_file(self._folder, number, name)
                        self._keeper.save_network(path, network)
        return position

    def _make(self, position: Position, previous: Method | None, *, restored: bool) -> Method:
        """The stage's method, with weights from the checkpoint, the previous stage or the initial run."""
        own = None
        with self._strategy.scope():
            method = self._stages.build(position.stage, position.scores)
            if restored:
                own = checkpoint.restore(self._keeper.path, method)
            else:
                if previous is not None:
                    checkpoint.take_over(method, previous)
                elif self._initial is not None:
                    spec = self._train.spec_for(self._info.labels, self._info.spacing_mm)
                    self._initial.start(method, self._initial.networks(spec))
                method.begin()
        statistics = OwnStatistics(method.networks().values(), self._strategy)
        if own is not None:
            statistics.deal(own)
        several = self._strategy.num_replicas_in_sync > 1 and not self._train.synchronized_statistics
        self._own_statistics = statistics if several else None
        return method

    def _train_stage(self, method: Method, position: Position, line: ProgressLine) -> None:
        plan, sizes = self._stages.plan(position.stage), self._stages.sizes(position.stage)
        step_function = self._stages.step(position.stage, method)
        means, speed = Means(position.means), Speed()
        memory.check(method, sum(sizes.values()), self._strategy)
        source, warm = iter(self._stages.batches(position.stage, position.step)), False
        while position.step < plan.steps:
            if not warm:
                line.compiles(self._train.method[position.stage])
            with speed:
                batch = next(source)
                where = functools.partial(self._where, position.stage, position.step, batch)
                means.add(step_function(batch), where)
            if warm:
                speed.add(sum(sizes.values()))
            else:  # the first step compiles
                speed.read()
                warm = True
                self._stop.has_work = True
            epoch = (plan.first_step + position.step) // self._stages.epoch_steps
            line.step(epoch, self._train.method[position.stage], means.values(), speed.rate)
            position.step += 1
            if position.step % self._stages.epoch_steps == 0:
                position.means = None
                self._require_finite(method, where)
                self._end_epoch(method, position, means, speed, line)
                means = Means()
            # Signals reach the workers at different steps. All workers must stop after the same step.
            if self._together.any_says(self._stop.asked):
                position.means = means.state() if means.count else None
                self._require_finite(method, where)
                self._save(method, position)
                self._together.wait()
                raise Interrupted(
                    f"{self._stop.cause} after step {plan.first_step + position.step}; the state is saved in "
                    f"{self._folder}. Start the same command with --resume to continue.",
                    self._stop.number,
                )

    def _require_finite(self, method: Method, where: Callable[[], str]) -> None:
        """Refuses to save weights that the last update made NaN. Only the next step's loss would show them."""
        spoilt = checkpoint.not_finite(method)
        if self._own_statistics and not np.isfinite(self._own_statistics.rows()).all():
            spoilt.append("a replica's batch statistics")
        if spoilt:
            raise UserError(
                f"weights of {', '.join(spoilt)} became NaN or infinite at {where()}",
                path=self._folder,
                remedy="Lower --learning_rate, or check the input; a checkpoint, if there is one, is from before",
            )
        for name, value in rates(method).items():
            if name.startswith("loss_scale_") and value < 1:
                raise UserError(
                    f"{name} fell to {value:g} at {where()}: gradients overflow float16 at any scale",
                    path=self._folder,
                    remedy="Train with --precision=bfloat16 or float32, or lower --learning_rate",
                )

    def _where(self, stage: int, step: int, batch) -> str:
        """The number of a step and the cases of its batch, for an error message."""
        train, first = self._train, self._stages.first_step(stage)
        partitions = {"labelled": ("labelled",), "unlabelled": train.unlabelled_partitions}
        held = []
        for stream, part in batch.items():
            cases = training_cases(self._info, partitions[stream], train.incomplete_cases)
            names = sorted({cases[int(number)].case_id for number in part["patient"]})
            held.append(f"{stream} {', '.join(names)}")
        return f"step {first + step} (cases: {'; '.join(held)})"

    def _end_epoch(self, method: Method, position: Position, means: Means, speed: Speed, line: ProgressLine) -> None:
        plan = self._stages.plan(position.stage)
        run_step = plan.first_step + position.step
        epoch = run_step // self._stages.epoch_steps - 1
        if self._own_statistics:
            self._own_statistics.share()
        validated = self._validated(method)
        method.on_validated(epoch, validated.means, validated.thresholds)
        self._fit(method)
        alarms = method.alarms(means.values())
        if epoch > 0:
            alarms += validated.silence(method.silence_remedy)
        row: dict[str, Any] = {
            "epoch": epoch,
            "stage": self._train.method[position.stage],
            "step": run_step,
            **method.facts(),
            **rates(method),
            **means.values(),
            **validated.columns(),
            "slices_per_second": speed.read(),
            **({"alarm": " | ".join(alarms)} if alarms else {}),
        }
        position.rows.append(row)
        self._keep_best(method, position, validated, row)
        self._save(method, position)
        self._tell(position)
        if self._together.chief:
            self._record.epoch(position.rows, validated if self._shows(position, epoch) else None)
        line.validated(validated.means)
        for text in alarms if self._together.chief else ():
            line.say(f"warning: after epoch {epoch} {text}")

    def _validated(self, method: Method) -> Validated:
        validated = self._validator(method.deployed, method.fusion and method.fusion.samples.add)
        return validated.with_numbers(self._together.of_chief(validated.numbers()))

    def _fit(self, method: Method) -> None:
        """Fits the fusion of pseudo-labels to the validated cases."""
        if method.fusion:
            method.fusion.assign(self._together.of_chief(method.fusion.fit(method.thresholds)))

    def _complete_record(self, method: Method, position: Position) -> None:
        """Writes the log of the last epoch again: a kill may have come between the checkpoint and the log."""
        epoch = position.rows[-1]["epoch"]
        lacks = not position.means and self._shows(position, epoch) and not self._record.has_picture(epoch)
        self._record.epoch(position.rows, self._validator(method.deployed) if lacks else None)

    def _shows(self, position: Position, epoch: int) -> bool:
        """Whether the current epoch gets a picture."""
        last = position.step == self._stages.plan(position.stage).steps
        return last or (epoch + 1) % self._picture_every == 0

    def _keep_best(self, method: Method, position: Position, validated: Validated, row: dict[str, Any]) -> None:
        for name, value in validated.means.items():
            if name not in position.best or value > position.best[name]["dice"]:
                position.best[name] = {
                    "dice": value,
                    **validated.stored_threshold(name),
                    "step": row["step"],
                    "stage": row["stage"],
                }
                self._keeper.hold_better(name, row["step"], method.deployed[name])

    def _tell(self, position: Position) -> None:
        """Publishes the checkpoint's state: first run.json, then the networks that it names."""
        if self._together.chief:
            self._record.tell(position.rows, position.best)
        self._keeper.take_better(position.best)

    def _save(self, method: Method, position: Position) -> None:
        # All workers take part, and only the chief writes. At the end of an epoch, the replicas' statistics are equal.
        own = self._own_statistics.rows() if self._own_statistics and position.means else None
        self._keeper.save(method, dataclasses.asdict(position), own)
