"""Publishes a run's networks, each as a SavedModel of its own: <output>/<modality>/<version>/.

    python -m semicml_tf.export RUN --output=models/

Each is read back and compared with the network in memory before it gets its number. One whose validation DSC is
clearly below that of the published version is held back, and the exit code is 2; the others are published.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from absl import flags

from semicml_tf import commandline
from semicml_tf.artefact.manifest import PROBABILITIES_DTYPES
from semicml_tf.errors import UserError
from semicml_tf.exporting.gate import MARGIN
from semicml_tf.system import atomic_files, locks

POSITIONAL = ("run",)
AFTER_INTERRUPT = "Versions that were published are complete: start the same command again."
REPORT_NAME = "export.json"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("run", None, "Folder of a run of python -m semicml_tf.train.", flag_values=values)
    flags.DEFINE_string(
        "output", "models", "Folder of the models; each modality gets a folder in it.", flag_values=values
    )
    flags.DEFINE_string("dataset", "", "Folder or URL of the run's data, if it has moved.", flag_values=values)
    flags.DEFINE_list("modalities", [], "Modalities to export; none means all of the run.", flag_values=values)
    flags.DEFINE_integer(
        "keep",
        None,
        "Old versions to keep beside the new one, the others are removed; all if not given.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_float(
        "gate_margin",
        MARGIN,
        "A network is held back if its validation DSC is below that of the published version by more than this.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "check_input",
        "",
        "Cases that each network must segment before it is published: a file, a folder or a CSV manifest, as predict "
        "and convert take them. Their images are checked as predict checks them.",
        flag_values=values,
    )
    flags.DEFINE_bool("force", False, "Publish also what would be held back.", flag_values=values)
    flags.DEFINE_enum(
        "probabilities_dtype",
        PROBABILITIES_DTYPES[0],
        PROBABILITIES_DTYPES,
        "Type in which a server sends probabilities; float16 takes half the bytes.",
        flag_values=values,
    )


def _held_back(found: Mapping, output: pathlib.Path, margin: float) -> UserError | None:
    held = [f"{modality}: {one.verdict.reason}" for modality, one in found.items() if one.published is None]
    if not held:
        return None
    published = [f"{modality} {one.published.version}" for modality, one in found.items() if one.published]
    return UserError(
        f"not published, worse by more than {margin:g}: {'; '.join(held)}. Published: {', '.join(published) or 'none'}",
        path=output,
        remedy="Pass --force to publish all the same, or --gate_margin to allow a larger fall",
    )


def main(values: flags.FlagValues) -> None:
    if not values.run:
        raise UserError("expected --run, the folder of a run", remedy="See --help")
    from semicml_tf.exporting.export_run import export_run

    output = pathlib.Path(values.output)
    found = export_run(
        values.run,
        output,
        modalities=values.modalities,
        dataset=values.dataset,
        keep=values.keep,
        gate_margin=values.gate_margin,
        force=values.force,
        probabilities_dtype=values.probabilities_dtype,
        check=values.check_input,
    )
    for modality, one in found.items():
        if one.published is None:
            continue
        new = one.published
        print(f"{new.folder}: version {new.version}, equal to memory within {new.max_difference:.1e}")
        if one.verdict.reason:
            print(f"{modality}: {one.verdict.reason}" + ("" if one.verdict.passes else ": published by --force"))
        if one.removed:
            print(f"{modality}: old versions removed: {', '.join(map(str, one.removed))}")
    run_hash = next(iter(found.values())).manifest.run_hash
    models = {modality: one.as_json() for modality, one in found.items()}
    with locks.writing(output / REPORT_NAME):
        atomic_files.write_json(output / REPORT_NAME, {"run": str(values.run), "run_hash": run_hash, "models": models})
    held_back = _held_back(found, output, values.gate_margin)
    if held_back:
        raise held_back


if __name__ == "__main__":
    commandline.run("semicml_tf.export")
