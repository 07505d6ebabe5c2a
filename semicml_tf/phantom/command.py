"""Makes phantom patients: paired volumes with known truth and a real gap between the modalities.

The trunk has CT, which shows a lesion faintly but sharply, and PET, which shows it clearly but blurred, each with
structures that look like a lesion in it and not in the other. The head has T1, T1ce, T2 and FLAIR without skull. The
layout decides which of them is made. The same flags write the same bytes, and a case does not depend on how many
there are.

Beside the volumes: split.json (cases by partition) and phantom.json (how they were made).

    python -m semicml_tf.phantom --output=data/phantom --cases=40 --labelled=6 --validation=6 --test=12
"""

from __future__ import annotations

import dataclasses
import pathlib

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.phantom.writers import LAYOUTS
from semicml_tf.system import atomic_files, locks

POSITIONAL = ("output",)
AFTER_INTERRUPT = "Nothing was written: start the same command again."


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("output", None, "Folder to make.", flag_values=values)
    flags.DEFINE_integer("cases", 40, "Number of patients.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "first_case", 0, "Number of the first patient: a later delivery has others.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_integer("seed", 0, "Source of all randomness.", lower_bound=0, flag_values=values)
    heads = ", ".join(name for name, layout in LAYOUTS.items() if layout.body == "head")
    flags.DEFINE_enum("layout", "hecktor", list(LAYOUTS), f"{heads}: heads. The others: trunks.", flag_values=values)
    flags.DEFINE_integer("labelled", 6, "Patients of partition labelled.", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("validation", 6, "Patients of partition validation.", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("test", 12, "Likewise of test; the rest is unlabelled.", lower_bound=0, flag_values=values)
    flags.DEFINE_float(
        "empty_fraction", 0.1, "Share of patients without a lesion.", lower_bound=0, upper_bound=1, flag_values=values
    )
    flags.DEFINE_bool("oblique", False, "Tilted grids with index axes in any order.", flag_values=values)
    flags.DEFINE_list(
        "phantom_size_mm", ["192", "192", "96"], "Field of view: left-right, back-front, feet-head.", flag_values=values
    )
    flags.DEFINE_list(
        "phantom_spacing_mm",
        ["3", "3", "4"],
        "Voxels likewise; PET's are 1.4, 1.4, 1.25 times as large.",
        flag_values=values,
    )
    flags.DEFINE_bool("overwrite", False, "Replace a phantom that is already in --output.", flag_values=values)


def _three_lengths(text: list[str], flag: str) -> tuple[float, float, float]:
    try:
        lengths = tuple(float(part) for part in text)
    except ValueError:
        lengths = ()
    if len(lengths) != 3 or not all(0 < length < 1e4 for length in lengths):
        raise UserError(
            f"expected --{flag} as three lengths in mm, got '{','.join(text)}'", remedy="For example 192,192,96"
        )
    return lengths


def _check_output(values: flags.FlagValues) -> pathlib.Path:
    if not values.output:
        raise UserError("expected an output folder", remedy="Pass --output=FOLDER")
    output = pathlib.Path(values.output)
    # --overwrite removes the folder: only ever one that this command made.
    if values.overwrite and output.is_dir() and any(output.iterdir()) and not (output / "phantom.json").is_file():
        raise UserError("the folder holds something else than a phantom", path=output, remedy="Choose another output")
    return output


def main(values: flags.FlagValues) -> None:
    from tqdm import tqdm

    from semicml_tf.phantom import case as cases
    from semicml_tf.phantom import split as splits

    output = _check_output(values)
    size_mm, spacing_mm = (
        _three_lengths(values.phantom_size_mm, "phantom_size_mm"),
        _three_lengths(values.phantom_spacing_mm, "phantom_spacing_mm"),
    )
    layout = LAYOUTS[values.layout]
    numbers = range(values.first_case, values.first_case + values.cases)
    names = [layout.case_id(number) for number in numbers]
    split = splits.draw(names, values.seed, labelled=values.labelled, validation=values.validation, test=values.test)
    drawn = (0, 1, 2, 4) if layout.body == "head" else (0, 1)
    made, paths = [], {}
    with locks.writing(output), atomic_files.new_directory(output, overwrite=values.overwrite) as folder:
        for name, number in zip(names, tqdm(numbers, desc="phantom", unit="case")):
            case = cases.generate(
                values.seed,
                number,
                body=layout.body,
                oblique=values.oblique,
                empty_fraction=values.empty_fraction,
                size_mm=size_mm,
                spacing_mm=spacing_mm,
            )
            case = dataclasses.replace(case, case_id=name, label=_relabelled(case.label, layout.label_values))
            paths[case.case_id] = layout.write(folder, case)
            volume_ml = float((case.label > 0).sum() * case.label_grid.voxel_volume_ml)
            made.append({"case": case.case_id, "lesion_ml": round(volume_ml, 3)})
        atomic_files.write_json(folder / "split.json", split)
        layout.finish(folder, paths, split)
        atomic_files.write_json(
            folder / "phantom.json",
            {
                "made_by": "python -m semicml_tf.phantom",
                "layout": values.layout,
                "first_case": values.first_case,
                "seed": values.seed,
                "oblique": values.oblique,
                "empty_fraction": values.empty_fraction,
                "size_mm": list(size_mm),
                "spacing_mm": list(spacing_mm),
                "modalities": list(cases.BODIES[layout.body]),
                "label_values": sorted(layout.label_values.get(value, value) for value in drawn),
                "cases": made,
            },
        )
    empty = sum(entry["lesion_ml"] == 0 for entry in made)
    print(
        f"{output}: {len(made)} cases, {empty} without a lesion; {', '.join(f'{k} {len(v)}' for k, v in split.items())}"
    )


def _relabelled(label, values):
    """The label map with each value that `values` names replaced."""
    changed = label.copy()
    for value, other in values.items():
        changed[label == value] = other
    return changed


if __name__ == "__main__":
    commandline.run("semicml_tf.phantom")
