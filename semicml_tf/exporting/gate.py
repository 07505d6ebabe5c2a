"""The gate of an export: a network that is clearly worse than the published one on validation patients is held back."""

from __future__ import annotations

import dataclasses
import pathlib

from typing_extensions import TypedDict

from semicml_tf import labels_file
from semicml_tf.artefact.manifest import MAX_BYTES, RELATIVE_PATH, Manifest
from semicml_tf.artefact.versions import complete_versions
from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.labels_file import LabelFile
from semicml_tf.system import json_files
from semicml_tf.system.json_files import Share

# A mean DSC over a few validation patients varies by about this much between trainings.
MARGIN = 0.02


class _Manifest(TypedDict, total=False):
    """The fields of a version's manifest that are read; older contracts have the first two as well."""

    validation_dice: Share | None
    data_hash: str | None
    # Missing where the target is one plain region.
    labels: LabelFile


@dataclasses.dataclass(frozen=True)
class Former:
    """The published version of a model: the highest complete version.

    Attributes:
        folder: of the version.
        version: its number.
        validation_dice: mean DSC of its validation patients; None if the manifest does not contain it.
        data_hash: of the data of its training; None if the manifest does not contain it.
        classes: names of its classes.
    """

    folder: pathlib.Path
    version: int
    validation_dice: float | None
    data_hash: str | None
    classes: tuple[str, ...] = PLAIN.names

    @classmethod
    def find(cls, model: str | pathlib.Path) -> Former | None:
        """The published version below a model's folder; None if no version is published."""
        numbered = complete_versions(model)
        if not numbered:
            return None
        version = max(numbered)
        try:
            body = json_files.read(
                numbered[version] / RELATIVE_PATH,
                _Manifest,
                what="the manifest of an exported model",
                max_bytes=MAX_BYTES,
            )
        except UserError:
            body = {}
        classes = labels_file.of_value(body["labels"], what="a model").names if "labels" in body else PLAIN.names
        return cls(numbered[version], version, body.get("validation_dice"), body.get("data_hash"), classes)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The gate's decision on a network.

    Attributes:
        passes: whether it may be published.
        reason: both scores, or the reason why they could not be compared; empty if no version was published before.
    """

    passes: bool
    reason: str


def judge(manifest: Manifest, former: Former | None, margin: float = MARGIN) -> Verdict:
    """Compares the validation DSC of a network with that of the published version.

    Args:
        manifest: of the new network.
        former: the published version, if there is one.
        margin: largest accepted fall of the validation DSC.
    """
    if former is None:
        return Verdict(True, "")
    which, new = f"version {former.version}", manifest.validation_dice
    if former.classes != manifest.labels.names:
        names = " and ".join(", ".join(classes) for classes in (manifest.labels.names, former.classes))
        return Verdict(True, f"not compared with {which}: the classes differ ({names})")
    if new is None or former.validation_dice is None:
        unknown = "this run's" if new is None else f"{which}'s"
        return Verdict(True, f"not compared with {which}: {unknown} validation DSC is not known")
    # Rounded, so that a fall by exactly the margin passes.
    passes = round(former.validation_dice - new, 9) <= margin
    reason = f"validation DSC {new:.4f} against {former.validation_dice:.4f} of {which}"
    if former.data_hash != manifest.data_hash:
        hashes = f"{str(former.data_hash or 'unknown')[:12]}, now {manifest.data_hash[:12]}"
        reason += f", which was trained on other data (hash {hashes}): the scores may be of other patients"
    return Verdict(passes, reason)
