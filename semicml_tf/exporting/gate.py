"""Whether a network may take the place of the published one: not if it is clearly worse on validation patients."""

from __future__ import annotations

import dataclasses
import pathlib

from typing_extensions import TypedDict

from semicml_tf.artefact.manifest import MAX_BYTES, RELATIVE_PATH, Manifest
from semicml_tf.artefact.versions import complete_versions
from semicml_tf.errors import UserError
from semicml_tf.system import json_files
from semicml_tf.system.json_files import Share

# A mean DSC over a few validation patients moves by about this much from one training to the next.
MARGIN = 0.02


class _Manifest(TypedDict, total=False):
    """What is read of the manifest of a version; those of older contracts have both fields as well."""

    validation_dice: Share | None
    data_hash: str | None


@dataclasses.dataclass(frozen=True)
class Former:
    """The version of a model that is published: the highest that is complete.

    Attributes:
        folder: of the version.
        version: its number.
        validation_dice: mean DSC of its validation patients; None where its manifest does not tell.
        data_hash: of the data that it was trained on; None likewise.
    """

    folder: pathlib.Path
    version: int
    validation_dice: float | None
    data_hash: str | None

    @classmethod
    def find(cls, model: str | pathlib.Path) -> Former | None:
        """The published version below a model's folder; None where there is none yet."""
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
        return cls(numbered[version], version, body.get("validation_dice"), body.get("data_hash"))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate says of a network.

    Attributes:
        passes: whether it may be published.
        reason: both scores, or why they could not be compared; empty where nothing was published before.
    """

    passes: bool
    reason: str


def judge(manifest: Manifest, former: Former | None, margin: float = MARGIN) -> Verdict:
    """Compares the validation DSC of a network with that of the published version.

    Args:
        manifest: of the network that is to be published.
        former: the published version, if there is one.
        margin: it may be worse by so much.
    """
    if former is None:
        return Verdict(True, "")
    which, new = f"version {former.version}", manifest.validation_dice
    if new is None or former.validation_dice is None:
        unknown = "this run's" if new is None else f"{which}'s"
        return Verdict(True, f"not compared with {which}: {unknown} validation DSC is not known")
    # Rounded, so that a fall by just the margin is within it.
    passes = round(former.validation_dice - new, 9) <= margin
    reason = f"validation DSC {new:.4f} against {former.validation_dice:.4f} of {which}"
    if former.data_hash != manifest.data_hash:
        hashes = f"{str(former.data_hash or 'unknown')[:12]}, now {manifest.data_hash[:12]}"
        reason += f", which was trained on other data (hash {hashes}): the scores may be of other patients"
    return Verdict(passes, reason)
