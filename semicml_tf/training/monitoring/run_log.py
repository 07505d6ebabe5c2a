"""What a run writes for people and programs: run.json, history.csv, curves, TensorBoard, pictures."""

from __future__ import annotations

import contextlib
import pathlib
import platform
import sys
from typing import Any

from semicml_tf.errors import UserError, first_line
from semicml_tf.runs import run_folder
from semicml_tf.system import atomic_files, cpu, table_cells
from semicml_tf.system.versions import versions
from semicml_tf.training.monitoring import curves, pictures
from semicml_tf.training.validation import Validated

# Columns of one kind share a card in TensorBoard.
_KINDS = ("dice", "gradient_norm", "learning_rate", "loss_scale", "loss", "threshold")


def _tag(column: str) -> str:
    if column in ("loss", "slices_per_second"):
        return column
    kind = next((kind for kind in _KINDS if column.startswith(f"{kind}_")), None)
    return f"watched/{column}" if kind is None else f"{kind}/{column[len(kind) + 1 :]}"


_PICTURE = "validation"


def _logged(folder: pathlib.Path) -> set[tuple[int, str]]:
    """Step and tag of all that TensorBoard's files hold; the last record of one may be cut off."""
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    found = set()
    for path in sorted(folder.glob("events.*")):
        with contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(path)):
                event = event_pb2.Event.FromString(record.numpy())
                found |= {(event.step, value.tag) for value in event.summary.value}
    return found


class RunRecord:
    """Writes the run folder's readable files.

    Args:
        folder: the run's.
        head: what `run.json` says besides progress: settings, hashes, modalities, dataset.
    """

    def __init__(self, folder: pathlib.Path, head: dict[str, Any]):
        self._folder = folder
        self._head = {
            **head,
            "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
            "versions": {**versions("tensorflow", "keras", "numpy"), "platform": platform.platform()},
            "processor": cpu.processor(),
        }
        # Made with the first epoch: a run that is refused must leave nothing behind.
        self._summaries = None
        self._there: set[tuple[int, str]] = set()

    def has_picture(self, epoch: int) -> bool:
        """Whether the epoch's picture was written."""
        return run_folder.picture_file(self._folder, epoch).exists()

    def tell(self, rows: list[dict[str, Any]], best: dict[str, dict]) -> None:
        """Writes run.json: how far the run is, by all rows of the history, and its best networks."""
        alarms = [{key: row[key] for key in ("epoch", "stage", "alarm")} for row in rows if "alarm" in row]
        atomic_files.write_json(
            self._folder / run_folder.FILE_NAME,
            {**self._head, "epochs_done": len(rows), "step": rows[-1]["step"], "best": best, "alarms": alarms},
        )

    def epoch(self, rows: list[dict[str, Any]], shown: Validated | None) -> None:
        """Takes in an epoch: all rows of the history so far, the last one new, and what to draw a picture of.

        What TensorBoard has of the epoch, as where a run goes on after a kill, is not written twice.
        """
        import tensorflow as tf

        self._curves(rows)
        with self._explained():
            if self._summaries is None:
                self._there = _logged(self._folder / "tensorboard")
                self._summaries = tf.summary.create_file_writer(str(self._folder / "tensorboard"))
            self._summarise(rows[-1], shown)

    def _summarise(self, row: dict[str, Any], shown: Validated | None) -> None:
        import tensorflow as tf

        # Leaving `as_default` writes all of it.
        with self._summaries.as_default(step=row["step"]):
            for key, value in row.items():
                if isinstance(value, float) and (row["step"], _tag(key)) not in self._there:
                    tf.summary.scalar(_tag(key), value)
            if shown:
                png = pictures.draw(shown, f"epoch {row['epoch']} ({row['stage']})")
                if (row["step"], _PICTURE) not in self._there:
                    tf.summary.image(_PICTURE, tf.image.decode_png(png, 3)[tf.newaxis])
                # Before the picture's own file, by which a run that goes on knows that TensorBoard has it, too.
                self._summaries.flush()
                path = run_folder.picture_file(self._folder, row["epoch"])
                atomic_files.write_file(path, lambda stream: stream.write(png))

    @contextlib.contextmanager
    def _explained(self):
        """Turns what TensorFlow raises of its file into one line."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            raise UserError(
                f"TensorBoard's file cannot be written ({first_line(error)})",
                path=self._folder / "tensorboard",
                remedy="Free some space, and start the same command again with --resume",
            ) from error

    def _curves(self, rows: list[dict[str, Any]]) -> None:
        """Writes history.csv and training.png anew."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        atomic_files.write_text(self._folder / run_folder.HISTORY_NAME, table_cells.csv_text(columns, rows))
        curve = curves.draw(rows)
        atomic_files.write_file(self._folder / "training.png", lambda stream: stream.write(curve))
