"""What a conversion of deliveries will read, told without opening an image: for who must know whether it is due."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib

from absl import flags

from semicml_tf.conversion import choose_split, from_flags
from semicml_tf.conversion.split import Split
from semicml_tf.conversion.target import Target
from semicml_tf.errors import UserError
from semicml_tf.files import deliveries


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What is there to convert.

    Attributes:
        span: number of the last delivery that is read.
        fingerprint: SHA-256 (hex) over the names, sizes and times of change of the files of all deliveries up to it.
        split: who is in which partition.
    """

    span: int
    fingerprint: str
    split: Split


def resolve(values: flags.FlagValues) -> Resolved:
    """What the command `semicml_tf.convert` would read with these flags.

    Raises:
        UserError: there is no delivery or no split; pseudonyms have no place to stay; the draw would have to read
            masks.
    """
    source = pathlib.Path(values.input)
    if not deliveries.is_there(source):
        raise UserError(
            "expected a folder of deliveries, span-1, span-2, ...", path=source, remedy="Name each delivery's folder so"
        )
    layout = from_flags.layout(values, source)
    settings, options = from_flags.settings(values), from_flags.layout_options(values)
    hidden = values.pseudonymize or layout.holds_patient_names(source)
    if hidden and not values.pseudonym_map:
        raise UserError(
            "cases of deliveries need pseudonyms that stay",
            path=source,
            remedy="Pass --pseudonym_map=FILE.json, a file outside of the deliveries that is kept",
        )
    privacy = from_flags.privacy(values, source, Target.parse(values.output, overwrite=False), layout)
    with privacy.errors():
        cases = privacy.rename(layout.find(source, settings.modalities, options))
        split, _ = choose_split.choose(values, cases, source, settings.modalities, lesion_ml=_no_masks, privacy=privacy)
    folders = [folder for number, folder in deliveries.spans(source).items() if number in layout.parts]
    return Resolved(max(layout.parts), fingerprint(folders), split)


def fingerprint(folders: list[pathlib.Path]) -> str:
    """SHA-256 (hex) over the names, sizes and times of change of all files in the folders."""
    told = []
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner.sort()
            for name in sorted(names):
                path = pathlib.Path(place) / name
                state = path.lstat()
                told.append([folder.name, path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _no_masks(cases) -> dict[str, float]:
    raise UserError(
        "--stratify=lesion_size would have to read masks before it is known what is to be done",
        remedy="Let python -m semicml_tf.convert draw the first delivery's split, and lay split.json beside its data",
    )
