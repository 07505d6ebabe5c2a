"""Flagfiles of a plan: `train` and `convert` read them, and skip each other's flags."""

from __future__ import annotations

from semicml_tf.conversion.planning.patches import BATCH, PatchPlan
from semicml_tf.conversion.planning.plan import Plan

SLICES, PATCHES = "plan.flags", "plan3d.flags"


def flagfiles(plan: Plan, patches: PatchPlan | None) -> dict[str, str]:
    """The texts of the flagfiles by file name: `SLICES`, and `PATCHES` if there is a plan for 3-D networks."""
    settings = plan.settings
    grid = [f"--spacing_mm={','.join(f'{mm:.10g}' for mm in settings.spacing_mm)}"]
    grid.append("--normalisation=" + ",".join(f"{name}={settings.normalisation[name]}" for name in settings.modalities))
    files = {SLICES: _text(SLICES, "slices", [], [*grid, f"--window={plan.window}"])}
    if patches is not None:
        steps = ", ".join(" x ".join(map(str, step)) for step in patches.strides) or "none"
        files[PATCHES] = _text(
            PATCHES,
            "patches of three dimensions",
            [f"The network's strides have no flag. Training chooses them from window and spacing: {steps}."],
            [
                *grid,
                "--network=unet3d",
                f"--window={','.join(map(str, patches.window))}",
                f"--labelled_batch={BATCH}",
                f"--unlabelled_batch={BATCH}",
            ],
        )
    return files


def _text(name: str, inputs: str, comments: list[str], flags: list[str]) -> str:
    head = [
        f"Plan for networks of {inputs}, from the images of this dataset:",
        f"  python -m semicml_tf.train --flagfile=DATASET/{name} --dataset=DATASET --output=RUN",
        "The dataset already has this spacing and normalisation. Training skips these flags of the conversion.",
        *comments,
    ]
    return "\n".join([*(f"# {line}" for line in head), *flags, ""])
