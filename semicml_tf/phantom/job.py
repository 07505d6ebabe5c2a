"""Makes the volumes of a phantom."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.phantom import case as cases
from semicml_tf.phantom import split as splits
from semicml_tf.phantom.case import PhantomCase
from semicml_tf.phantom.config import IGNORED_VALUE, PhantomConfig
from semicml_tf.phantom.writers import LAYOUTS
from semicml_tf.system import atomic_files, locks, progress

# The modality of incomplete patients, by body.
_FIRST = {"trunk": "ct", "head": "flair"}


@dataclasses.dataclass(frozen=True)
class PhantomResult:
    """Summary of a phantom.

    Attributes:
        folder: folder of the phantom.
        cases: names of the cases by partition.
        empty: number of cases without a lesion.
    """

    folder: pathlib.Path
    cases: dict[str, list[str]]
    empty: int

    @property
    def text(self) -> str:
        """The result in one line."""
        sizes = {name: len(members) for name, members in self.cases.items()}
        partitions = ", ".join(f"{name} {size}" for name, size in sizes.items())
        return f"{self.folder}: {sum(sizes.values())} cases, {self.empty} without a lesion; {partitions}"


def make_phantom(config: PhantomConfig) -> PhantomResult:
    """Makes phantom patients in ``config.output``.

    Raises:
        UserError: the partitions need more cases, or the folder has other content.
    """
    output = _checked_output(config)
    layout = LAYOUTS[config.layout]
    numbers = range(config.first_case, config.first_case + config.cases)
    names = [layout.case_id(number) for number in numbers]
    split = splits.draw(names, config.seed, **config.partition_sizes())
    drawn = (0, 1, 2, 4) if layout.body == "head" else (0, 1)
    sparse = config.annotated_slices is not None
    complete = {*split["validation"], *split["test"]} if sparse else set(names)
    values = {layout.label_values.get(value, value) for value in drawn} | ({IGNORED_VALUE} if sparse else set())
    incomplete = splits.incomplete(split["unlabelled"], config.seed, config.incomplete_fraction)
    entries, paths = [], {}
    with locks.writing(output), atomic_files.new_directory(output, overwrite=config.overwrite) as folder:
        for name, number in zip(names, progress.bar(numbers, desc="phantom", unit="case")):
            case = cases.generate(
                config.seed,
                number,
                body=layout.body,
                oblique=config.oblique,
                empty_fraction=config.empty_fraction,
                mr=config.phantom_mr,
                size_mm=config.phantom_size_mm,
                spacing_mm=config.phantom_spacing_mm,
            )
            case = dataclasses.replace(case, case_id=name, label=_relabelled(case.label, layout.label_values))
            volume_ml = float((case.label > 0).sum() * case.label_grid.voxel_volume_ml)
            modalities = list(case.images)
            entry = {"case": name, "lesion_ml": round(volume_ml, 3)}
            if name in incomplete:
                first = _FIRST[layout.body]
                case = dataclasses.replace(case, images={first: case.images[first]})
                entry["modalities"] = [first]
            paths[name] = layout.write(folder, case if name in complete else _sparse(case, config.annotated_slices))
            entries.append(entry)
        atomic_files.write_json(folder / "split.json", split)
        layout.finish(folder, paths, split)
        atomic_files.write_json(
            folder / "phantom.json",
            {
                "made_by": "python -m semicml_tf.phantom",
                "layout": config.layout,
                "first_case": config.first_case,
                "seed": config.seed,
                "oblique": config.oblique,
                "empty_fraction": config.empty_fraction,
                "size_mm": list(config.phantom_size_mm),
                "spacing_mm": list(config.phantom_spacing_mm),
                "modalities": modalities,
                "label_values": sorted(values),
                **({"incomplete_fraction": config.incomplete_fraction} if incomplete else {}),
                **({"annotated_slices": config.annotated_slices} if sparse else {}),
                "cases": entries,
            },
        )
    return PhantomResult(output, split, sum(entry["lesion_ml"] == 0 for entry in entries))


def _checked_output(config: PhantomConfig) -> pathlib.Path:
    output = pathlib.Path(config.output)
    # --overwrite removes the folder, which must be a phantom.
    if config.overwrite and output.is_dir() and any(output.iterdir()) and not (output / "phantom.json").is_file():
        raise UserError(
            "expected a phantom or an empty folder, got other files", path=output, remedy="Choose another --output"
        )
    return output


def _relabelled(label, values):
    """The label map with values replaced; `values` has the new value by old value."""
    result = label.copy()
    for old, new in values.items():
        result[label == old] = new
    return result


def _sparse(case: PhantomCase, count: int) -> PhantomCase:
    """The case with `count` annotated axial slices. The other slices of its label have the ignored value.

    The annotated slices are the middles of `count` equal parts of a range. The range is the extent of the lesion plus a
    quarter of it on each side, within the volume. Without a lesion, the range is the whole volume.
    """
    axis = case.label_grid.reordered()[1][0]
    by_slice = np.moveaxis(case.label, axis, 0)
    depth = len(by_slice)
    count = min(count, depth)
    lesion = np.flatnonzero(by_slice.any(axis=(1, 2)))
    first, last = (lesion[0], lesion[-1]) if lesion.size else (0, depth - 1)
    margin = (last + 1 - first) // 4
    start, end = max(first - margin, 0), min(last + 1 + margin, depth)
    if end - start < count:
        start = min(start, depth - count)
        end = start + count
    annotated = start + ((np.arange(count) + 0.5) * (end - start) / count).astype(int)
    label = np.full_like(case.label, IGNORED_VALUE)
    np.moveaxis(label, axis, 0)[annotated] = by_slice[annotated]
    return dataclasses.replace(case, label=label)
