"""Converts images on disk into a dataset for training: sharded TFRecords and a dataset.json.

Every modality of a case is resampled onto one grid in physical space and normalised by its name; the
label, where the split allows it to be read, comes along. Example:

    python -m semicml_tf.convert --flagfile=configs/sts_ct_pet.flags --input=DIR --output=DIR
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import platform

from absl import flags

import semicml_tf
from semicml_tf import commandline
from semicml_tf.conversion import split as splits
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files import layouts
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.contract import PARTITIONS
from semicml_tf.records.dataset import FILE_NAME

# Flags that say where and how fast, not what: they leave no trace in the output.
_WITHOUT_EFFECT = ("output", "workers", "overwrite")


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    text = {"flag_values": values}
    flags.DEFINE_string("input", None, "Folder of the images (layouts hecktor, brats) or CSV manifest (csv).", **text)
    flags.DEFINE_string("output", None, "Folder to make.", **text)
    flags.DEFINE_string("layout", layouts.AUTO, f"One of {', '.join((layouts.AUTO, *layouts.LAYOUTS))}.", **text)
    flags.DEFINE_list("modalities", [], "Names of the modalities, e.g. ct,pet or t2,t1ce.", **text)
    flags.DEFINE_string("reference_modality", "", "Whose box the common grid covers; default: the first one.", **text)
    flags.DEFINE_list(
        "spacing_mm", ["0", "0", "0"], "SLICE,ROW,COLUMN distances of the common grid; 0 keeps the case's own.", **text
    )
    flags.DEFINE_list(
        "normalisation",
        [],
        "MODALITY=KIND:LOW:HIGH,...; kinds: hu, suv (window in native units), percentile (then z-score). Default: "
        "ct=hu:-200:300, pet=suv:0:15, any other percentile:0.5:99.5.",
        **text,
    )
    flags.DEFINE_list("label_values", ["1"], "Values of the label map that are foreground.", **text)
    flags.DEFINE_list(
        "background_values", ["0"], "Values of the label map that are not; any other is an error.", **text
    )
    flags.DEFINE_string(
        "label_on",
        "",
        "Modality on whose grid the labels were drawn. Default: ct in the layout hecktor, else the reference modality.",
        **text,
    )
    flags.DEFINE_bool("allow_empty_labels", False, "Accept labelled cases without any foreground.", **text)
    flags.DEFINE_string(
        "split",
        "",
        "JSON file {PARTITION: [CASE, ...]}. Default: the manifest's partitions, or split.json in the input folder.",
        **text,
    )
    flags.DEFINE_integer("split_seed", None, "Draw the split by case from this seed instead.", **text)
    flags.DEFINE_float("labelled_fraction", 0.1, "Fraction of the cases drawn as labelled.", **text)
    flags.DEFINE_float("validation_fraction", 0.1, "Fraction of the cases drawn for validation.", **text)
    flags.DEFINE_float("test_fraction", 0.2, "Fraction of the cases drawn for testing.", **text)
    flags.DEFINE_integer("cases_per_shard", 8, "Cases in a shard, at most.", lower_bound=1, **text)
    flags.DEFINE_integer("workers", 0, "Threads that build cases; 0 = one a core.", lower_bound=0, **text)
    flags.DEFINE_bool("overwrite", False, "Replace a dataset that is in the output folder.", **text)


def main(values: flags.FlagValues) -> None:
    """Converts; prints what was found and what was made."""
    from semicml_tf.conversion.write import write_dataset

    settings = Settings.parse(
        modalities=values.modalities,
        reference_modality=values.reference_modality,
        spacing_mm=values.spacing_mm,
        normalisation=values.normalisation,
        label_values=values.label_values,
        background_values=values.background_values,
        allow_empty_labels=values.allow_empty_labels,
    )
    source, output = _paths(values)
    layout = layouts.choose(values.layout, source)
    cases = _with_label_on(layout.find(source, settings.modalities), layout, source, values.label_on)
    split, told = _split(values, cases, source)
    chosen, left_out = splits.cases_by_partition(split, cases, source=source)
    print(f"{source}: layout {layout.NAME}, {len(cases)} cases, split from {told}")
    if left_out:
        print(f"note: not in the split and left out: {', '.join(left_out)}")
    info, notes = write_dataset(
        output,
        chosen,
        split,
        settings,
        layout=layout.NAME,
        cases_per_shard=values.cases_per_shard,
        workers=values.workers or os.cpu_count() or 1,
        overwrite=values.overwrite,
        extra=_provenance(values),
    )
    for note in notes:
        print(f"note: {note}")
    counts = ", ".join(f"{name} {len(info.partitions[name])}" for name in PARTITIONS)
    print(f"{output}: {counts} cases in {len(info.shard_sha256)} shards, data hash {info.data_hash[:12]}")


def _paths(values: flags.FlagValues) -> tuple[pathlib.Path, pathlib.Path]:
    for name in ("input", "output"):
        if not values[name].value:
            raise UserError(f"--{name} is missing", remedy="See --help")
    source, output = pathlib.Path(values.input), pathlib.Path(values.output)
    if output.resolve() in (source.resolve(), *source.resolve().parents):
        raise UserError("the output folder holds the input", path=output, remedy="Choose another --output")
    # --overwrite removes the folder; it must not remove anything but a dataset.
    if values.overwrite and output.is_dir() and any(output.iterdir()) and not (output / FILE_NAME).is_file():
        raise UserError(
            f"--overwrite replaces datasets only, and this folder has no {FILE_NAME}",
            path=output,
            remedy="Choose another --output, or empty the folder yourself",
        )
    return source, output


def _with_label_on(cases: list[CaseFiles], layout, source: pathlib.Path, label_on: str) -> list[CaseFiles]:
    if not label_on:
        return cases
    drawn_on = {case.case_id: case.images[label_on] for case in layout.find(source, [label_on])}
    return [dataclasses.replace(case, label_on=drawn_on[case.case_id]) for case in cases]


def _split(values: flags.FlagValues, cases: list[CaseFiles], source: pathlib.Path) -> tuple[splits.Split, str]:
    """The split and where it comes from; the user's own word goes before what lies in the input."""
    if values.split and values.split_seed is not None:
        raise UserError("--split and --split_seed contradict each other", remedy="Pass one of them")
    if values.split:
        return splits.read(values.split), values.split
    if values.split_seed is not None:
        fractions = {
            "labelled": values.labelled_fraction,
            "validation": values.validation_fraction,
            "test": values.test_fraction,
        }
        return splits.draw(cases, values.split_seed, fractions), f"seed {values.split_seed}"
    if any(case.partition for case in cases):
        return splits.from_layout(cases, source=source), "the manifest's column 'partition'"
    if (source / splits.FILE_NAME).is_file():
        return splits.read(source / splits.FILE_NAME), f"{source / splits.FILE_NAME} (--split was not given)"
    raise UserError(
        "nothing says which case is in which partition",
        path=source,
        remedy="Pass --split=FILE.json, or --split_seed=0 to draw one",
    )


def _provenance(values: flags.FlagValues) -> dict:
    """How the dataset was made: for people, outside the data's hash."""
    given = [flag for flag in (values[name] for name in values) if flag.present and flag.name not in _WITHOUT_EFFECT]
    return {
        "command": " ".join(["python -m semicml_tf.convert", *(flag.serialize() for flag in given)]),
        "source": str(pathlib.Path(values.input).resolve()),
        "versions": {
            "semicml_tf": semicml_tf.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("numpy", "scipy", "nibabel", "tensorflow")},
        },
    }


def _version(distribution: str) -> str | None:
    # Asked of the installation, not of the module: importing TensorFlow to read a string takes seconds.
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    commandline.run("semicml_tf.convert")
