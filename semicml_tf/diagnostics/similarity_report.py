"""`RUN/evaluation/similarity`: the maps of a run's networks on unlabelled slices, and their similarity."""

from __future__ import annotations

import io
import itertools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from semicml_tf.diagnostics import kept_networks
from semicml_tf.errors import UserError
from semicml_tf.evaluation import data_provenance, report
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.complete_cases import DROP, whole_cases
from semicml_tf.methods.catalogue import MethodSettings, settings_of
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run
from semicml_tf.runs.settings import recorded_flags
from semicml_tf.system import atomic_files, progress, quiet_import
from semicml_tf.system.tables import Table

if TYPE_CHECKING:
    from semicml_tf.diagnostics.similarity import Batch

REPORT_VERSION = 1
FILES = ("report.json", "report.md", "similarity.png")
SLICES = 256
_SHOWN = 8


def build(run: Run, info: DatasetInfo, *, command: str) -> tuple[dict, bytes]:
    """The contents of `report.json`, and the picture.

    Networks are those at the end of each finished stage, and those of the last checkpoint. Slices are about the first
    `SLICES` of the run's own unlabelled stream, without augmentation, in batches of the run's size.

    Each pair of modalities and each class is compared separately, on the patients who have both modalities.

    Raises:
        UserError: the run has one modality or networks of patches, no patient has both modalities of a pair, the data
            are not the run's, or a file of the run is missing.
    """
    from semicml_tf.diagnostics import similarity

    if len(run.modalities) < 2:
        raise UserError(
            f"expected a run of at least two modalities to compare, got {', '.join(run.modalities)}",
            path=run.folder,
            remedy="Choose another run",
        )
    if len(run.patch.spatial) == 3:
        raise UserError(
            "expected a run of networks of slices, got networks of patches",
            path=run.folder,
            remedy="Choose a run with one number in --window",
        )
    data_provenance.require(run, info)
    settings = recorded_flags(run_folder.read_record(run.folder))
    lacking = [name for name in ("method", "seed", "unlabelled_batch", "unlabelled_partitions") if name not in settings]
    if lacking:
        raise UserError(
            f"expected the settings {', '.join(lacking)} of the run, got none",
            path=run.folder / run_folder.FILE_NAME,
            remedy="Train it again",
        )
    method_settings = settings_of(settings)
    quiet_import.tensorflow()
    cases = _cases(run, info, settings)
    # Pairs with the same patients share their slices, and each network's maps of them.
    slices = {entries: list(_batches(info, entries, settings, run.patch)) for entries in cases.values()}
    times, shown = [], []
    for kept in progress.bar(list(kept_networks.over_time(run, settings)), desc="comparing maps"):
        when = kept.when
        maps = {entries: [_maps(kept.networks, batch) for batch in batches] for entries, batches in slices.items()}
        for (number, name), ((first, second), entries) in itertools.product(enumerate(run.labels.names), cases.items()):
            pair = [
                similarity.Batch(
                    maps_of_batch[first][..., number, None], maps_of_batch[second][..., number, None], batch["patient"]
                )
                for maps_of_batch, batch in zip(maps[entries], slices[entries])
            ]
            of_class = {"class": name} if len(run.labels.names) > 1 else {}
            times.append(
                {"when": when, "modalities": [first, second], **of_class, **similarity.measure(pair, method_settings)}
            )
            shown.append((", ".join([when, *of_class.values()]), (first, second), similarity.by_patient(pair[0])))
    return {
        "report_version": REPORT_VERSION,
        "command": command,
        "run": {"folder": str(run.folder), "run_hash": run.run_hash, "data_hash": run.data_hash},
        "modalities": list(run.modalities),
        "batch": _batch_size(settings),
        "similarity": method_settings.asc_similarity,
        "temperature": method_settings.asc_temperature,
        "negatives": method_settings.asc_negatives,
        "empty": method_settings.asc_empty,
        "times": times,
        "versions": report.versions(),
    }, picture(shown, method_settings)


def _cases(run: Run, info: DatasetInfo, settings: dict) -> dict[tuple[str, str], tuple[CaseEntry, ...]]:
    """The unlabelled cases of the training with both modalities, by pair of modalities."""
    drops = settings.get("incomplete_cases") == DROP
    return {
        pair: tuple(whole_cases(info, settings["unlabelled_partitions"], info.modalities if drops else pair))
        for pair in itertools.combinations(run.modalities, 2)
    }


def _batch_size(settings: dict) -> int:
    return max(settings["unlabelled_batch"], 2)


def _batches(info: DatasetInfo, cases: Sequence[CaseEntry], settings: dict, patch: Patch):
    from semicml_tf.input.augmentation import NONE
    from semicml_tf.input.stream import StreamSettings, window_stream

    size = _batch_size(settings)
    stream = StreamSettings(
        modalities=tuple(name for name in info.modalities if all(name in info.modalities_of(case) for case in cases)),
        patch=patch,
        batch_size=size,
        labelled=False,
        lesion_fraction=0.0,
        augmentation=NONE,
        seed=2 * settings["seed"] + 1,
    )
    return window_stream(info, cases, stream).take(max(SLICES // size, 1)).as_numpy_iterator()


def _maps(networks, batch) -> dict[str, np.ndarray]:
    """Maps of a batch by modality, (batch, height, width, classes)."""
    return {name: np.asarray(networks[name](image, training=False)) for name, image in batch["image"].items()}


def text(body: dict) -> str:
    """The report in Markdown."""
    parts = [
        "# Maps of the networks on unlabelled slices",
        f"{body['times'][0]['slices']} slices in batches of {body['batch']}, as in training, without augmentation. A "
        f"network sees something in a slice if a pixel of its map reaches 0.5. Similarity: {body['similarity']}.",
    ]
    for row in body["times"]:
        of_pair = f": {' and '.join(row['modalities'])}" if len(body["modalities"]) > 2 else ""
        of_class = f", {row['class']}" if "class" in row else ""
        parts += [f"## {row['when']}{of_pair}{of_class}", _slices(row), _pairs(row)]
    rule = f"`--asc_negatives={body['negatives']} --asc_empty={body['empty']}`"
    parts += [
        "Weight: share of the loss's push on these pairs if all other maps were negatives, at temperature "
        f"{body['temperature']:g}. Pushed apart: share of these pairs that are negatives with the run's {rule}.",
        f"Run hash {body['run']['run_hash'][:12]}, data hash {body['run']['data_hash'][:12]}.",
        f"Made by `{body['command']}`.",
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _slices(row: dict) -> str:
    from semicml_tf.diagnostics.similarity import SEEN

    shares = [f"{row[f'seen_by_{name}']:.0%}" for name in ("none", "one", "both")]
    header = [f"of a slice's {' and '.join(row['modalities'])} maps", *SEEN]
    alike = [_number(row["alike"][kind]) for kind in SEEN]
    return Table(header, [["share of the slices", *shares], ["similarity of the two", *alike]]).markdown()


def _pairs(row: dict) -> str:
    cells = [
        [
            f"{kind['owner']}, {kind['seen']}",
            f"{kind['pairs']:.0%}",
            _number(kind["similarity"]),
            f"{kind['weight']:.0%}",
            "-" if kind["used"] is None else f"{kind['used']:.0%}",
        ]
        for kind in row["kinds"]
    ]
    return Table(["maps of two slices", "pairs", "similarity", "weight", "pushed apart"], cells).markdown()


def picture(shown: Sequence[tuple[str, tuple[str, str], Batch]], settings: MethodSettings) -> bytes:
    """Draws the similarity matrices and the first maps: a column per time and class, a row per pair of modalities.

    Args:
        shown: (when and class, pair of modalities, maps sorted by patient); all pairs of a time and class together.
        settings: of the run. Dots mark the pairs that these settings push apart.

    Returns:
        PNG bytes.
    """
    # Without pyplot, there is neither a display nor global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from semicml_tf.diagnostics.similarity import pairs

    columns = len({when for when, _, _ in shown})
    rows = len(shown) // columns
    figure = Figure(figsize=(5.4 * columns, 7.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(3, 1) * rows)
    # Column by column, as the pairs of a time follow each other.
    matrices, strips = grid[::2].T.flat, grid[1::2].T.flat
    for (when, modalities, batch), axis, strip in zip(shown, matrices, strips):
        batch_pairs = pairs(batch, settings)
        count = len(batch.patients)
        image = axis.imshow(batch_pairs.scores, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        anchors, negatives = np.nonzero(batch_pairs.used)
        axis.scatter(negatives, anchors, s=60 / count, color="white", linewidths=0)
        axis.axhline(count - 0.5, color="white")
        axis.axvline(count - 0.5, color="white")
        middles = [count / 2 - 0.5, 1.5 * count - 0.5]
        axis.set_xticks(middles, modalities)
        axis.set_yticks(middles, modalities, rotation=90, va="center")
        axis.set_title(f"{when}: similarity; dots: pushed apart", fontsize=10)
        strip.imshow(_side_by_side(batch), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        height = batch.first.shape[1]
        strip.set_yticks([height / 2, 1.5 * height], modalities, rotation=90, va="center")
        width = batch.first.shape[2]
        owners = batch.patients[:_SHOWN]
        strip.set_xticks(
            [(k + 0.5) * width for k in range(len(owners))], [str(number) for number in owners], fontsize=8
        )
        strip.set_xlabel("the first slices' maps, by number of the patient", fontsize=9)
    figure.colorbar(image, ax=list(grid[0]), shrink=0.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _side_by_side(batch: Batch) -> np.ndarray:
    return np.concatenate([np.concatenate(list(maps[:_SHOWN, ..., 0]), axis=1) for maps in (batch.first, batch.second)])


def write(body: dict, png: bytes, output: pathlib.Path) -> str:
    """Writes the report's files, and returns the text for the screen."""
    with atomic_files.new_directory(output, overwrite=True) as staged:
        atomic_files.write_json(staged / "report.json", body)
        atomic_files.write_text(staged / "report.md", text(body))
        atomic_files.write_file(staged / "similarity.png", lambda stream: stream.write(png))
    return text(body)
