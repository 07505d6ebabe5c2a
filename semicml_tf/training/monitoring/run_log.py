"""The readable files of a run: run.json, history.csv, learning curves, TensorBoard, pictures."""

from __future__ import annotations

import contextlib
import io
import pathlib
import platform
import sys
from typing import Any

import numpy as np

from semicml_tf.errors import UserError, first_line, printable
from semicml_tf.geometry import outlines
from semicml_tf.runs import run_folder
from semicml_tf.system import atomic_files, cpu, tables
from semicml_tf.system.versions import versions
from semicml_tf.training.monitoring import curves
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
    """Step and tag of all values in TensorBoard's files. The last record of a file may be truncated."""
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
        folder: the run's folder.
        head: entries of `run.json` beside the progress: settings, hashes, modalities, dataset.
    """

    def __init__(self, folder: pathlib.Path, head: dict[str, Any]):
        self._folder = folder
        self._head = {
            **head,
            "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
            "versions": {**versions("tensorflow", "keras", "numpy"), "platform": platform.platform()},
            "processor": cpu.processor(),
        }
        # Created in the first epoch, because a refused run must not leave files.
        self._summaries = None
        self._there: set[tuple[int, str]] = set()

    def has_picture(self, epoch: int) -> bool:
        """Whether the picture of the epoch exists."""
        return run_folder.picture_file(self._folder, epoch).exists()

    def tell(self, rows: list[dict[str, Any]], best: dict[str, dict]) -> None:
        """Writes run.json with the progress, the best networks and the alarms. `rows` is the whole history."""
        alarms = [{key: row[key] for key in ("epoch", "stage", "alarm")} for row in rows if "alarm" in row]
        atomic_files.write_json(
            self._folder / run_folder.FILE_NAME,
            {**self._head, "epochs_done": len(rows), "step": rows[-1]["step"], "best": best, "alarms": alarms},
        )

    def epoch(self, rows: list[dict[str, Any]], shown: Validated | None) -> None:
        """Logs an epoch. After a resume, values that TensorBoard already has are not written again.

        Args:
            rows: the whole history. The last row is new.
            shown: the validation to draw, or None for no picture.
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
                png = draw_slices(shown, f"epoch {row['epoch']} ({row['stage']})")
                if (row["step"], _PICTURE) not in self._there:
                    tf.summary.image(_PICTURE, tf.image.decode_png(png, 3)[tf.newaxis])
                # Flushed before the picture's file is written: after a resume, this file shows that TensorBoard has it.
                self._summaries.flush()
                path = run_folder.picture_file(self._folder, row["epoch"])
                atomic_files.write_file(path, lambda stream: stream.write(png))

    @contextlib.contextmanager
    def _explained(self):
        """Converts TensorFlow's errors of its log file to one line."""
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
        """Writes history.csv and training.png."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        atomic_files.write_text(self._folder / run_folder.HISTORY_NAME, tables.csv_text(columns, rows))
        curve = curves.draw(rows)
        atomic_files.write_file(self._folder / "training.png", lambda stream: stream.write(curve))


def draw_slices(validated: Validated, title: str) -> bytes:
    """A picture of the slices of a validation: modalities side by side, truth and prediction outlined; PNG bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pictures = validated.pictures
    modalities = list(validated.dice)
    several = any(len(of_class) > 1 for of_class in validated.dice.values())
    figure, axes = pyplot.subplots(
        len(pictures), len(modalities), figsize=(3.2 * len(modalities), 3.2 * len(pictures)), squeeze=False
    )
    for row, (case, (images, truth, maps)) in zip(axes, pictures.items()):
        for axis, name in zip(row, modalities):
            axis.axis("off")
            axis.set_title(printable(f"{case} {name}"), fontsize=8, parse_math=False)
            if name not in images:
                axis.text(0.5, 0.5, f"no {name}", ha="center", va="center", transform=axis.transAxes)
                continue
            low, high = np.percentile(images[name], [1, 99])
            axis.imshow(images[name], cmap="gray", vmin=low, vmax=max(high, low + 1e-3))
            for number, one in enumerate(validated.dice[name]):
                colour = outlines.class_colour(number)
                colours = (colour, colour) if several else ("lime", "red")
                cuts = (0.5, (validated.thresholds[name] or [0.5] * len(truth))[number])
                for values, cut, colour, style in zip((truth, maps[name]), cuts, colours, ("solid", "dotted")):
                    options = {"linestyles": style} if several else {}
                    outlines.draw(axis, values[number], colour, cut=cut, linewidths=1.0, **options)
                if several:
                    axis.plot([], [], color=colour, label=one)
    if several:
        drawn = next(axis for axis in axes.flat if axis.get_legend_handles_labels()[0])
        drawn.legend(fontsize=6, loc="lower left")
    colours = "solid: truth, dotted: prediction" if several else "green: truth, red: prediction"
    figure.suptitle(f"{title}\n{colours}", fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    pyplot.close(figure)
    return buffer.getvalue()
