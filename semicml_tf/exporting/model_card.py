"""`MODEL_CARD.md`: for people, what an exported network is, may be used for, and cannot do."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from semicml_tf.artefact.manifest import DEFAULT, INPUT_NAME, LABELS_NAME, OUTPUT_NAME, PROBABILITIES, RAW, Manifest

RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/MODEL_CARD.md")


def _spacing(manifest: Manifest) -> str:
    return " x ".join(f"{size:g} mm" if size > 0 else "the volume's own" for size in manifest.spacing_mm)


def _text(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")


def _what(manifest: Manifest) -> str:
    if manifest.labels.is_plain:
        return "one foreground class"
    kind = "exclusive class" if manifest.labels.exclusive else "region"
    names = ", ".join(manifest.labels.names)
    return (
        f"{manifest.classes} {kind}{'es' if kind[-1] == 's' else 's'} ({names})"
        if manifest.classes > 1
        else (f"one {kind} ({names})")
    )


def _who(manifest: Manifest) -> str:
    if manifest.members == 1:
        return "A 2-D U-Net"
    return f"An ensemble of {manifest.members} networks (2-D U-Nets, mean of their probabilities)"


def _classes(manifest: Manifest) -> str:
    """Rows of the table: values, thresholds and post-processing of each class."""
    rows = []
    mean, chosen = "", "on validation"
    if manifest.members > 1:
        mean, chosen = ", mean over the networks", "by more than half of the networks, each on its validation patients"
    for name, values in manifest.labels.classes.items():
        text = ", ".join(map(str, values))
        of = "" if manifest.labels.is_plain else f" of {name}"
        rows.append(f"| foreground{of} | values {text} of the source's label map |")
        if name in manifest.thresholds:
            rows.append(f"| threshold on the probability{of}{mean} | {manifest.thresholds[name]:g} |")
        rows.append(f"| post-processing of the mask{of}, chosen {chosen} | `{manifest.steps[name]}` |")
    return "".join(f"{row}\n" for row in rows)


def _labels(manifest: Manifest) -> str:
    if manifest.labels.exclusive:
        return "numbers of the classes from 1 in the order above, 0 for background"
    return "likewise" if manifest.classes == 1 else "with a channel per region in the order above"


def _soft(manifest: Manifest) -> str:
    return manifest.probabilities_dtype + ("" if manifest.classes == 1 else " with a channel per class")


def _settings(settings: Mapping[str, Any]) -> str:
    if not settings:
        return "Not recorded in the run."
    cells = {name: _text(value) for name, value in settings.items()}
    rows = [f"| {name} | `{value}` |" for name, value in cells.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _slices(manifest: Manifest) -> str:
    size = " x ".join(map(str, manifest.patch.spatial))
    if len(manifest.patch.spatial) == 3:
        return f"patches of {size} voxels (slices x rows x columns)"
    size += " pixels"
    count = manifest.context_slices
    return f"{size}, each with {count} neighbour{'s' * (count > 1)} on each side" if count else size


def _context(manifest: Manifest) -> str:
    if len(manifest.patch.spatial) == 3:
        return "It reads patches: nothing connects places that are farther apart than a patch."
    if not manifest.context_slices:
        return "It reads single slices: nothing makes neighbouring slices agree."
    return "It reads few neighbouring slices at a time: little makes distant slices agree."


def text(manifest: Manifest, settings: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        settings: of the training, by name.
    """
    dice = "not measured" if manifest.validation_dice is None else f"{manifest.validation_dice:.4f}"
    scores = "".join(
        f"| mean {name}, of post-processed masks | {mean:.4g} |\n" for name, mean in manifest.validation_scores.items()
    )
    shape, patients, ensemble = ", ".join(map(str, manifest.patch.shape)), "", ""
    if manifest.members > 1:
        patients = f", mean over {manifest.members} networks with their own patients"
        ensemble = f"""
* The ensemble itself was scored on nobody: each network was scored alone. A patient who tested one network may have
  trained another.
* A call takes the time and the memory of {manifest.members} networks."""
    return f"""# Segmentation network for modality `{manifest.modality}`

**For research only. Not for clinical use**: it is no medical device, and no diagnosis or treatment may rest on it.

## What it is
{_who(manifest)} that marks {_what(manifest)}, slice by slice, in volumes of modality `{manifest.modality}` alone. The
method that trained it stands under the training settings; most train it beside the network of a second modality, which
is not needed any more and not in here.

| fact | value |
|---|---|
| modality | `{manifest.modality}` |
| native units | {manifest.normalisation.unit} |
| normalisation (kind:low:high) | `{manifest.normalisation}` |
| grid (slice x row x column) | {_spacing(manifest)} |
| slices | {_slices(manifest)} |
{_classes(manifest)}| mean DSC of the validation patients with a lesion{patients} | {dice} |
{scores}| data hash | `{manifest.data_hash}` |
| run hash | `{manifest.run_hash}` |
| exported by | semicml_tf {manifest.semicml_tf_version} |

## Intended use
Research on segmentation with few labels, on data like the training data (see the data hash and the settings).

## Known limits
* {_context(manifest)}
* It was trained on few patients of few sites. Other scanners, tracers, protocols and body regions may fail silently.
* The training volumes' field of view may hint at where lesions lie; results on volumes cropped otherwise, such as
  whole bodies, can be much worse.
* The DSC above is of the patients on whom the checkpoint was chosen, so it is optimistic.{ensemble}
* The volume must be in the native units above. Obviously wrong units are refused, subtly wrong ones are not.

## Training settings
{_settings(settings)}

## How to call it
A NIfTI file in, a mask on the same grid out, from the folder that holds `saved_model.pb` or the one above:

    python -m semicml_tf.predict --model=FOLDER --modality={manifest.modality} --input=in.nii.gz --output=mask.nii.gz

From Python, for an array in native units and its (4, 4) affine (indices to RAS+ millimetres):

    import semicml_tf
    mask = semicml_tf.load("FOLDER").predict(array, affine)

The signature `{DEFAULT}` takes `{INPUT_NAME}`, float32 (batch, {shape}), resampled and normalised as `manifest.json`
beside this card says, and gives `{LABELS_NAME}`, uint8 {_labels(manifest)}; `{PROBABILITIES}` gives
`{OUTPUT_NAME}`, {_soft(manifest)}. `{RAW}` takes native units and normalises them itself. The manifest
lists all signatures. `python -m semicml_tf.serving.client` calls them over gRPC.
"""
