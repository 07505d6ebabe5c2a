"""Resolves the input of a conversion of deliveries without opening an image, to decide whether a conversion is due."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from semicml_tf.conversion import source as sources
from semicml_tf.conversion.config import ConvertConfig
from semicml_tf.conversion.execution.output import Target
from semicml_tf.conversion.splitting import choose_split
from semicml_tf.conversion.splitting.split import Split
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import deliveries


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The input of a conversion.

    Attributes:
        span: number of the last delivery that is read.
        fingerprint: SHA-256 (hex) over the names, sizes and modification times of the files of all deliveries up to
            `span`, and of files elsewhere that their manifests name.
        split: the partitions of the patients.
    """

    span: int
    fingerprint: str
    split: Split


def resolve(config: ConvertConfig) -> Resolved:
    """The input that `conversion.job.convert` would read with these options.

    Raises:
        UserError: there is no delivery or no split; --pseudonym_map is required and missing; the draw of the split
            would read masks.
    """
    source = pathlib.Path(config.input)
    if not deliveries.is_there(source):
        raise UserError(
            "expected a folder of deliveries, span-1, span-2, ...", path=source, remedy="Name each delivery's folder so"
        )
    layout = sources.layout(config)
    if sources.hides_names(config, layout) and not config.pseudonym_map:
        raise UserError(
            "cases of deliveries need permanent pseudonyms",
            path=source,
            remedy="Pass --pseudonym_map=FILE.json, a permanent file outside of the deliveries",
        )
    modalities = config.settings().modalities
    privacy = sources.privacy(config, layout, Target.parse(config.output, overwrite=False))
    with privacy.errors():
        cases = privacy.rename(layout.find(source, modalities, config.layout_options()))
        split, _ = choose_split.choose(
            config, cases, source, modalities, lesion_ml=_no_masks, privacy=privacy, report=print
        )
    folders = [folder for number, folder in deliveries.spans(source).items() if number in layout.parts]
    # A manifest may name files that lie elsewhere.
    named = [one.path for case in cases for one in (*case.images.values(), case.label, case.label_on) if one]
    inside = [folder.resolve() for folder in folders]
    elsewhere = [path for path in named if not any(path.resolve().is_relative_to(folder) for folder in inside)]
    return Resolved(max(layout.parts), fingerprint(folders, elsewhere), split)


def fingerprint(folders: Sequence[pathlib.Path], files: Iterable[pathlib.Path] = ()) -> str:
    """SHA-256 (hex) over the names, sizes and modification times of all files in the folders, and of `files`.

    As in layouts, links are followed, and hidden files are ignored.
    """
    states = []
    for folder in folders:
        states += [[folder.name, path.relative_to(folder).as_posix(), *_state(path)] for path in _all_files(folder)]
    states += [[str(path), *_state(path)] for path in sorted(set(files)) if path.is_file()]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def _all_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    entered = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        # A link to a parent folder would be an endless loop.
        state = os.stat(place)
        if (state.st_dev, state.st_ino) in entered:
            inner.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (pathlib.Path(place, name) for name in sorted(names) if not name.startswith("."))


def _state(path: pathlib.Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:  # a broken or circular link
        state = path.lstat()
    return state.st_size, state.st_mtime_ns


def _no_masks(cases) -> dict[str, float]:
    raise UserError(
        "--stratify=lesion_size would have to read masks before the conversion",
        remedy="Draw the first delivery's split with python -m semicml_tf.convert, and put split.json beside its data",
    )
