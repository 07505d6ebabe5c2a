"""A run's checkpoints: what stands there, what the chief writes, and in which order."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from semicml_tf import labels_file
from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.methods.base import Method
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.runs import run_folder, settings
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.system import atomic_files
from semicml_tf.training import checkpoint


class Keeper:
    """Reads the last checkpoint; writes checkpoints and networks, if it is the chief's.

    Args:
        folder: of the run.
        run_hash: of what the run was asked to do.
        asked: that in words: its flags by name, `modalities`, `labels`, `data_hash`, `initial_run` and
            `initial_encoders`; a plain target has no `labels`.
        chief: whether this process writes.
    """

    def __init__(self, folder: pathlib.Path, run_hash: str, chief: bool, asked: Mapping[str, Any]):
        self._asked = asked
        self._folder, self._hash, self._chief = folder, run_hash, chief

    @property
    def path(self) -> pathlib.Path:
        """The last checkpoint, from which a run resumes."""
        return run_folder.checkpoint_file(self._folder)

    def position(self) -> dict[str, Any] | None:
        """Where the run stood at the last checkpoint; None where there is none.

        Raises:
            UserError: it cannot be read, or belongs to other settings or data.
        """
        record = self._folder / run_folder.FILE_NAME
        if self.path.exists():
            meta = checkpoint.read_meta(self.path)
            run_hash, position = meta["run_hash"], meta.get("position")
        elif record.exists():
            run_hash, position = run_folder.read_record(self._folder, "Delete it")["run_hash"], None
        else:
            return None
        if run_hash != self._hash:
            raise self._other_run()
        return position

    def _other_run(self) -> UserError:
        """Names what differs between the run in the folder and the run that is asked for, by `run.json`."""
        try:
            record = run_folder.read_record(self._folder)
        except UserError:  # damaged or gone; the checkpoint has the hash alone
            record = {}
        parts = []
        if record.get("settings"):
            defaults = settings.as_flags(TrainSettings(), MethodSettings())
            parts = settings.differences(settings.recorded_flags(record), self._asked["settings"], defaults)
        if record:
            # A run of one plain target names no labels.
            before, now = (
                labels_file.of_value(body.get("labels", PLAIN.to_json()), what="the labels of a run", path=self._folder)
                for body in (record, self._asked)
            )
            parts += [f"labels {before.described()}, now {now.described()}"] if before != now else []
        for key, what in (
            ("modalities", "modalities"),
            ("data_hash", "data of hash"),
            ("initial_run", "--init_from"),
            ("initial_encoders", "--init_encoder_from"),
        ):
            if record and record.get(key) != self._asked.get(key):
                before, now = (
                    ",".join(value) if isinstance(value, list) else value or "none"
                    for value in (record.get(key), self._asked.get(key))
                )
                parts.append(f"{what} {before}, now {now}")
        text = "; ".join(parts) or "other settings or other data"
        remedy = "Give the flags that it began with, or another --output"
        return UserError(f"this run was begun with {text}", path=self._folder, remedy=remedy)

    def save(self, method: Method, position: Mapping[str, Any], own: np.ndarray | None) -> None:
        """Writes a checkpoint; `own` as `checkpoint.save` takes it."""
        if self._chief:
            checkpoint.save(self.path, method, {"run_hash": self._hash, "position": dict(position)}, own)

    def save_network(self, path: pathlib.Path, network) -> None:
        """Writes a network's weights."""
        if self._chief:
            checkpoint.save_weights(path, network)

    def save_teachers(self, stage: int, method: Method) -> None:
        """Writes the teachers of a stage that begins, and the fitted fusion of their labels."""
        for name, network in method.label_writers().items():
            self.save_network(run_folder.teacher_weights_file(self._folder, stage, name), network)
        if method.fusion and self._chief:
            method.fusion.save(run_folder.fusion_file(self._folder, stage))

    def hold_better(self, modality: str, step: int, network) -> None:
        """Writes a modality's new best network beside the former one."""
        self.save_network(run_folder.next_weights_file(self._folder, modality, step), network)

    def take_better(self, best: Mapping[str, Mapping[str, Any]]) -> None:
        """Puts better networks in the place of the best ones, once a checkpoint tells of them.

        Not before: were the job killed between the two, the former best network would be gone, and the new one would
        go by the former's threshold and score.

        Args:
            best: by modality, as in `run.json`.
        """
        for name, entry in best.items() if self._chief else ():
            path = run_folder.next_weights_file(self._folder, name, entry["step"])
            if path.exists():
                path.replace(run_folder.weights_file(self._folder, name))

    def clear_left(self) -> None:
        """Removes what a kill broke off, and logs of which there is no checkpoint any more: they begin anew."""
        if not self._chief:
            return
        for folder in (self._folder, self.path.parent, self._folder / "pictures"):
            atomic_files.clear_left(folder)
        left = [*self.path.parent.glob("next-*.npz")]
        if not self.path.exists() and (self._folder / run_folder.FILE_NAME).exists():
            left += [*self._folder.glob("tensorboard/events.*"), *self._folder.glob("pictures/epoch-*.png")]
        for path in left:
            path.unlink(missing_ok=True)
