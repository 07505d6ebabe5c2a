"""Rows of another tool in an experiment's table: the scores of its masks from `semicml_tf.evaluate --masks`.

A row names `metrics.json` files. The experiment trains and scores nothing for the row, but computes the same statistics
as for its other rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.evaluation import pooled_report
from semicml_tf.evaluation import report as reports
from semicml_tf.experiments import method_row
from semicml_tf.experiments.run_spec import Cell

PLACEHOLDERS = ("modality", "labelled", "seed", "fold")
_EXAMPLE = "For example --external_row=nnU-Net: masks/{modality}-seed{seed}/metrics.json --labelled_patients=4"


@dataclasses.dataclass(frozen=True)
class ExternalRow:
    """A row of the table.

    Attributes:
        name: in the table.
        path: of the `metrics.json` files, with `PLACEHOLDERS` in braces.
        modality_sets, labelled, seeds: cells of the grid that the row has.
    """

    name: str
    path: str
    modality_sets: tuple[tuple[str, ...], ...]
    labelled: tuple[str, ...]
    seeds: tuple[int, ...]

    def cell(self, modalities: tuple[str, ...], labelled: str, seed: int, partition: str, folds: int | None) -> Cell:
        """A cell of the row.

        Args:
            folds: number of folds; None without folds.
        """
        path = self.path.replace("{labelled}", labelled).replace("{seed}", str(seed))
        numbers = range(folds or 1) if "{fold}" in path else (0,)
        names = modalities if "{modality}" in path else ("",)
        files = tuple(
            (name, tuple(pathlib.Path(path.replace("{modality}", name).replace("{fold}", str(k))) for k in numbers))
            for name in names
        )
        return Cell(self.name, modalities, labelled, seed, files[0][1][0].parent, (), partition, external=files)


def parse(
    texts: Sequence[str],
    *,
    taken: Collection[str],
    modality_sets: tuple[tuple[str, ...], ...],
    labelled: tuple[str, ...],
    seeds: tuple[int, ...],
    has_folds: bool = False,
) -> tuple[ExternalRow, ...]:
    """Reads the flags ``--external_row``.

    Args:
        texts: ``NAME: PATH`` each, with the row's own ``--modality_sets``, ``--labelled_patients`` and ``--seeds``.
        taken: names of the experiment's other rows.
        modality_sets, labelled, seeds: of the experiment. Those of a row replace them.
        has_folds: whether the experiment is a cross-validation.

    Raises:
        UserError: a row is malformed, has the name of another row, or would show the same file in several cells.
    """
    where = {"modality_sets": modality_sets, "labelled_patients": labelled, "seeds": seeds}
    rows: list[ExternalRow] = []
    for text in texts:
        row = _row(text, where)
        if row.name in (*taken, *(other.name for other in rows)):
            raise UserError(f"two rows have the same name, '{row.name}'", remedy="Give them different names")
        if ("{fold}" in row.path) != has_folds:
            problem = "expected {fold} in its path" if has_folds else "its path has {fold}, but there are no folds"
            raise UserError(f"row '{row.name}': {problem}", remedy="Name the metrics.json of each fold")
        rows.append(row)
    return tuple(rows)


def _row(text: str, where: Mapping[str, tuple]) -> ExternalRow:
    name, words = method_row.split(text, f"--external_row=NAME: PATH, got '{text}'", _EXAMPLE)
    where, paths = dict(where), []
    for word in words:
        position = method_row.place(name, word)
        where |= position
        if word.startswith("--") and not position:
            raise UserError(f"row '{name}': masks take no flag such as '{word}'", remedy=_EXAMPLE)
        paths += [] if position else [word]
    if len(paths) != 1 or not paths[0].endswith(".json"):
        raise UserError(f"row '{name}': expected the path of a metrics.json, got '{' '.join(paths)}'", remedy=_EXAMPLE)
    (path,) = paths
    unknown = set(re.findall(r"\{([^{}]*)\}", path)) - set(PLACEHOLDERS)
    if unknown:
        listed = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
        raise UserError(f"row '{name}': expected {listed} in its path, got {{{min(unknown)}}}", remedy=_EXAMPLE)
    for placeholder, flag in (("labelled", "labelled_patients"), ("seed", "seeds")):
        values = where[flag]
        if len(values) > 1 and f"{{{placeholder}}}" not in path:
            raise UserError(
                f"row '{name}': one file would stand for each of --{flag}={','.join(map(str, values))}",
                remedy=f"Write {{{placeholder}}} into the path, or add --{flag} with one value to the row",
            )
    return ExternalRow(name, path, where["modality_sets"], where["labelled_patients"], where["seeds"])


def cells_of(rows: Sequence[ExternalRow], partition: str, folds: int | None) -> list[Cell]:
    """All cells of the rows; see `ExternalRow.cell`."""
    return [
        row.cell(modalities, labelled, seed, partition, folds)
        for row in rows
        for seed in row.seeds
        for modalities in row.modality_sets
        for labelled in row.labelled
    ]


def read(cell: Cell, lacking: Mapping[str, Collection[str]]) -> dict:
    """Reads the scores of a cell as a report of a run, in which the masks have rows of networks.

    Args:
        lacking: patients without an image, by modality. They are left out of the modality's row.

    Raises:
        UserError: a file is damaged, has no scores of masks, or is of masks of another modality.
    """
    bodies = {name: _of_folds([_load(path, name) for path in paths], paths) for name, paths in cell.external}
    first = next(iter(bodies.values()))
    rows = []
    for modality in cell.modalities:
        body, left_out = bodies.get(modality, first), lacking.get(modality, ())
        for row in (row for row in body["rows"] if row["kind"] == "masks"):
            cases = [case for case in row["cases"] if case["case_id"] not in left_out]
            rows.append({**row, "kind": "network", "name": modality, "modality": modality, "cases": cases})
    return {**first, "rows": [*rows, *(row for row in first["rows"] if row["kind"] == "blind")]}


def _load(path: pathlib.Path, modality: str) -> dict:
    body = reports.load(path)
    if "masks" not in body:
        raise UserError("expected scores of masks, got those of a run", path=path, remedy="Add a --row instead")
    modality_of_masks = body["masks"]["modality"]
    if modality_of_masks != (modality or None):
        expected = f"masks of {modality} alone" if modality else "masks of no single modality"
        remedy = f"Score them with --mask_modality={modality}" if modality else "Write {modality} into the row's path"
        got = f"masks of {modality_of_masks} alone" if modality_of_masks else "masks of no single modality"
        raise UserError(f"expected {expected}, got {got}", path=path, remedy=remedy)
    return body


def _of_folds(bodies: Sequence[dict], paths: Sequence[pathlib.Path]) -> dict:
    """The pooled report of all folds; with one file, its report."""
    if len(bodies) == 1:
        return bodies[0]
    # `pooled_report` needs hashes of runs. The hashes of the mask files replace them.
    of_runs = {
        str(path): {**body, "run": {"run_hash": hashlib.sha256(repr(body["masks"]["files"]).encode()).hexdigest()}}
        for path, body in zip(paths, bodies)
    }
    data_hash = bodies[0]["dataset"]["data_hash"]
    return {**pooled_report.pool(of_runs, command="", data_hash=data_hash), "masks": bodies[0]["masks"]}
