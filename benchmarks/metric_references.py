"""Scores of 50 random mask pairs by MONAI and SimpleITK, as references for the tests of this package's scores.

    make .venv-torch/ready
    python -m benchmarks.metric_references --torch_python=.venv-torch/bin/python

The command writes tests/support/metric_references.json. It prints the differences between this package's scores and the
references, which are the table of docs/evaluation.md.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import mask_pairs
from benchmarks.sizes import TorchPython
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files

_HERE = pathlib.Path(__file__).parent
FILE = _HERE.parent / "tests" / "support" / "metric_references.json"
COMMAND = "python -m benchmarks.metric_references --torch_python=.venv-torch/bin/python"
# Prefix of measures on voxel surfaces instead of marching cubes. The tests compare some of them, within a bound.
VOXELS = "voxels_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferencesConfig(TorchPython):
    """Options of `benchmarks.metric_references`."""

    output: str = option(str(FILE), "File to write.", path=True)

    def __post_init__(self):
        check(self)


CONFIG = ReferencesConfig


def _by_monai(pairs: Sequence[mask_pairs.MaskPair], python: str, tolerance_mm: float) -> dict:
    arrays = {"count": len(pairs), "tolerance_mm": tolerance_mm}
    for index, pair in enumerate(pairs):
        arrays |= {f"prediction{index}": pair.prediction, f"truth{index}": pair.truth}
        arrays[f"spacing{index}"] = np.array(pair.spacing_mm)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "pairs.npz"
        np.savez(path, **arrays)
        done = subprocess.run(
            [python, str(_HERE / "masks_by_monai.py"), "values", str(path)], stdout=subprocess.PIPE, text=True
        )
    if done.returncode:
        raise UserError("the MONAI process failed", path=python, remedy="Read its message above")
    return json.loads(done.stdout)


def _plain(found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Values rounded to seven digits, with None for NaN, which JSON lacks."""
    return {
        name: value
        if isinstance(value, int)
        else None
        if value is None or not math.isfinite(value)
        else float(f"{value:.7g}")
        for name, value in found.items()
    }


def ours(pair: mask_pairs.MaskPair, tolerance_mm: float) -> dict[str, float | None]:
    """This package's scores of a pair, and its largest surface distance as ``hd_max_mm``."""
    from semicml_tf.evaluation import surfaces
    from semicml_tf.evaluation.metrics import case_score
    from semicml_tf.geometry.grid import Grid

    grid = Grid(pair.truth.shape, np.diag([*pair.spacing_mm, 1.0]))
    score = case_score.score("pair", pair.prediction, pair.truth, grid, surface_tolerance_mm=tolerance_mm)
    found = dataclasses.asdict(score)
    if score.outcome == "both present":
        distances = surfaces.surface_distances(pair.prediction, pair.truth, grid.spacing_mm)
        found["hd_max_mm"] = float(max(distances[f"distances_{way}"][-1] for way in ("gt_to_pred", "pred_to_gt")))
    return found


def differences(body: Mapping) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Pairs (this package's value, reference value) by implementation and measure, where both are defined."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for pair, row in zip(mask_pairs.pairs(body["seed"], len(body["pairs"])), body["pairs"]):
        own = ours(pair, body["surface_tolerance_mm"])
        for name in ("monai", "itk"):
            for measure, value in row[name].items():
                mine = own.get(measure.removeprefix(VOXELS))
                if value is not None and mine is not None:
                    found.setdefault((name, measure), []).append((mine, value))
    return found


def table(body: Mapping) -> str:
    """Largest and mean difference by measure and implementation, in Markdown."""
    lines = [
        "| measure | other implementation | pairs | largest difference | mean difference |",
        "|---|---|---|---|---|",
    ]
    titles = {"monai": "MONAI", "itk": "SimpleITK"}
    found = differences(body)
    for name, measure in sorted(found, key=lambda key: (key[1].startswith(VOXELS), key[1].removeprefix(VOXELS))):
        apart = np.abs(np.subtract(*np.transpose(found[name, measure])))
        whose = titles[name] + (", surfaces of voxels" if measure.startswith(VOXELS) else "")
        cells = (measure.removeprefix(VOXELS), whose, len(apart), f"{apart.max():.2g}", f"{apart.mean():.2g}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(config: ReferencesConfig) -> None:
    """Writes the references and prints the table of differences."""
    config.require_torch()
    import SimpleITK

    from benchmarks import masks_by_itk
    from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM

    pairs = mask_pairs.pairs()
    monai = _by_monai(pairs, config.torch_python, SURFACE_TOLERANCE_MM)
    body = {
        "command": COMMAND,
        "seed": mask_pairs.SEED,
        "digest": mask_pairs.digest(pairs),
        "surface_tolerance_mm": SURFACE_TOLERANCE_MM,
        "versions": {**monai["versions"], "SimpleITK": SimpleITK.Version.VersionString()},
        "pairs": [
            {
                "kind": pair.kind,
                "monai": _plain(theirs),
                "itk": _plain(masks_by_itk.values(pair.prediction, pair.truth, pair.spacing_mm)),
            }
            for pair, theirs in zip(pairs, monai["values"])
        ],
    }
    atomic_files.write_text(pathlib.Path(config.output), _text(body))
    print(table(body))


def _text(body: dict) -> str:
    """JSON with one line per pair."""
    head = json.dumps({**body, "pairs": []}, indent=1)
    lines = ",\n".join(json.dumps(row) for row in body["pairs"])
    return head.replace('"pairs": []', f'"pairs": [\n{lines}\n]') + "\n"


if __name__ == "__main__":
    commandline.run("benchmarks.metric_references")
