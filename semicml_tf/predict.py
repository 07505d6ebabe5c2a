"""Segments volumes with an exported model of their modality, or with several.

  python -m semicml_tf.predict --model=models/ct --input=in.nii.gz --output=mask.nii.gz
  python -m semicml_tf.predict --model=models/ct --input=FOLDER --output=FOLDER      each volume of a folder
  python -m semicml_tf.predict --model=models/ct --input=cases.csv --output=FOLDER   what conversion took: a manifest,
                                                                      a folder in one of its layouts, deliveries
  python -m semicml_tf.predict --model=models/ct --input=SERIES --output=seg.dcm     DICOM in, DICOM-SEG out
  python -m semicml_tf.predict --model=models/ct --input=ARCHIVE --output=FOLDER --dicom_seg
                                                                      each series of an archive likewise
  python -m semicml_tf.predict --model=a/ct,b/ct --input=in.nii.gz --output=mask.nii.gz
                                                                      mean of several models
  python -m semicml_tf.predict --model=ct=models/ct,pet=models/pet --input=ct=ct.nii.gz,pet=pet.nii.gz \\
      --output=mask.nii.gz --fuse                                     one mask from two modalities
  python -m semicml_tf.predict --model=ct=models/ct,pet=models/pet --input=ct=ct.nii.gz,pet=pet.nii.gz \\
      --output=mask.nii.gz --disagreement=differ.nii.gz               where two modalities differ

The mask (uint8, 0/1) lies on the input's own grid. Of a folder, predictions.json tells what was made of each case; one
that fails does not stop the rest, and a run that is started again does what is not done yet. For research only, not for
clinical use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError, printable, unexpected
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.system import atomic_files, locks

POSITIONAL = ("input", "output")
AFTER_INTERRUPT = "Finished cases are kept: the same command continues."
DEBUG_LOG = "predictions.debug.log"
_NAMED = 5  # failed cases that the last line names; predictions.json has all


def define_volume_flags(values: flags.FlagValues) -> None:
    """The flags of every command that segments volumes, wherever the network runs."""
    flags.DEFINE_string(
        "input",
        None,
        "The volume: NIfTI in native units (HU, SUV, MR), or a folder that holds a DICOM series. Several, separated by "
        "commas, or a folder of such. With names, ct=PATH,pet=PATH (registered images): of a folder whose files end in "
        "_ct, _pet or the like those that do; cases go by the rest of the files' names. A CSV manifest, or a folder in "
        "one of conversion's layouts, is read as conversion reads it.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output",
        None,
        "Mask to write, .nii or .nii.gz, on the (first) input's own grid; .dcm: a DICOM-SEG on a DICOM series. Of "
        "several inputs the folder of their masks.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "dicom_seg",
        False,
        "Of several inputs, which must be DICOM series, write each mask as a DICOM-SEG (.dcm) instead of NIfTI.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "modality", None, "Modality of the input, compared with the model's; refuses another.", flag_values=values
    )
    flags.DEFINE_string(
        "probabilities",
        None,
        "Also write the foreground probabilities (float32 NIfTI) here; of several inputs a folder, as for all maps.",
        flag_values=values,
    )
    flags.DEFINE_string("entropy", None, "Also write their entropy in bits, 0 (sure) to 1.", flag_values=values)
    flags.DEFINE_string(
        "mutual_information",
        None,
        "Also write, in bits, how far the draws of --mc_dropout or the models of an ensemble contradict each other.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "disagreement",
        None,
        "Also write how far the probabilities of the models of several modalities differ, 0 to 1.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "overlay", None, "Also draw the mask over its image here (PNG); of one input.", flag_values=values
    )
    flags.DEFINE_boolean(
        "flips", False, "Mean over slices as they are and mirrored: four passes for one.", flag_values=values
    )
    flags.DEFINE_integer(
        "mc_dropout", 0, "Mean over so many passes with Monte-Carlo dropout; 0 means none.", lower_bound=0,
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_integer("seed", 0, "Source of the dropout's randomness.", lower_bound=0, flag_values=values)
    flags.DEFINE_string(
        "postprocess",
        None,
        "Post-processing of the mask instead of the model's own: none, or of fill_holes, min_ml=ML, largest some, "
        "joined by +.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "accept",
        [],
        "CODE,...: segment images that are refused with these codes of docs/conversion.md, as suv_too_low. What the "
        "study of the model accepted is accepted without.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "batch_size", BATCH_SIZE, "Slices sent to the network at once.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "max_voxels",
        1 << 30,
        "A volume of more voxels is refused before memory is taken.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "overwrite", False, "Of several inputs, make those anew that are done already.", flag_values=values
    )


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "model",
        None,
        "Folder of an exported model: a version, or versions (the highest is used). Several of one modality, separated "
        "by commas, are averaged; of several modalities: ct=FOLDER,pet=FOLDER, of which the first draws the mask.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "fuse",
        False,
        "Of models of several modalities: mask, probabilities and entropy from the mean of their probabilities, on the "
        "first one's grid and with its post-processing.",
        flag_values=values,
    )
    define_volume_flags(values)


def require(values: flags.FlagValues, *names: str) -> None:
    """Raises UserError unless the flags have values."""
    for name in names:
        if not getattr(values, name):
            raise UserError(f"expected --{name}", remedy="See --help")


def _combined(members: Sequence, values: flags.FlagValues, bar):
    """The models of one modality as one segmenter, with the passes that the flags ask for."""
    from semicml_tf.inference.ensemble import Ensemble
    from semicml_tf.inference.flips import Flipped
    from semicml_tf.inference.monte_carlo import MonteCarlo
    from semicml_tf.inference.progress import WithProgress
    from semicml_tf.postprocessing.steps import Postprocessing
    from semicml_tf.preprocessing.plausibility import accepted_codes

    made = [WithProgress(model, bar) for model in members]
    for model in made:
        model.manifest = model.manifest.accepting(accepted_codes(values.accept))
    if values.flips:
        made = [Flipped(model) for model in made]
    if values.mc_dropout:
        for model in members:
            model.check_dropout()
        made = [MonteCarlo(model, values.mc_dropout, values.seed) for model in made]
    steps = None if values.postprocess is None else Postprocessing.parse(values.postprocess)
    return Ensemble(made, postprocessing=steps)


def _check_maps(values: flags.FlagValues, models: Mapping[str, Sequence], fuse: bool) -> None:
    if fuse and len(models) < 2:
        raise UserError(
            "--fuse needs models of two modalities", remedy="Pass --model=ct=FOLDER,pet=FOLDER, or leave it out"
        )
    if fuse and values.mutual_information:
        raise UserError("--mutual_information is of one modality's draws", remedy="Leave it out, or --fuse")
    if values.disagreement and len(models) < 2:
        raise UserError(
            "--disagreement needs models of two modalities", remedy="Pass --model=ct=FOLDER,pet=FOLDER, or leave it out"
        )
    if values.mutual_information and values.mc_dropout < 2 and len(next(iter(models.values()))) < 2:
        raise UserError(
            "--mutual_information needs several answers", remedy="Pass --mc_dropout=20, or several models of a modality"
        )


def _maps(values: flags.FlagValues) -> dict[str, pathlib.Path]:
    from semicml_tf.inference.segment_case import MAPS

    return {name: pathlib.Path(values[name].value) for name in MAPS if values[name].value}


def segment_files(
    models: Mapping[str, Sequence],
    values: flags.FlagValues,
    *,
    paths: Mapping[str, tuple[pathlib.Path, ...]] | None = None,
    fuse: bool = False,
) -> dict | None:
    """Segments what --input names and writes --output and the maps that are asked for.

    Args:
        models: by modality its `Segmenter`s, at least one; the first modality draws the mask.
        paths: the inputs by modality; None takes them from --input.
        fuse: all of them draw it together, on the first one's grid.

    Returns:
        What is told of one case (see `segment_case`); None of several, of which predictions.json tells.

    Raises:
        UserError: an input is no volume of its model's modality, or an output cannot be written; of several inputs,
            after the others were done.
    """
    import tqdm

    from semicml_tf.inference import inputs
    from semicml_tf.inference.volume import check_modality

    check_modality(next(iter(models.values()))[0].manifest, values.modality)
    _check_maps(values, models, fuse)
    output = pathlib.Path(values.output)
    is_image = output.name.endswith((*inputs.NIFTI_ENDINGS, ".dcm"))
    cases = inputs.of_layout(values.input, tuple(models)) if paths is None else None
    if cases is not None and is_image:
        raise UserError("expected a folder for the masks of several cases", path=output, remedy="Name another --output")
    if cases is None and paths is None:
        paths = inputs.by_modality(values.input, tuple(models))
    flat = [path for given in (paths or {}).values() for path in given]
    several = cases is not None or (
        not is_image and (len(flat) > len(paths) or any(os.path.isdir(path) for path in flat))
    )
    # One bar: of several cases it counts these. It waits, so that refused inputs are one line.
    name = f"segment {' and '.join(models)}"
    if values.dicom_seg and not (several or output.name.endswith(".dcm")):
        raise UserError("--dicom_seg writes .dcm files, got another name", path=output, remedy="Pass --output=mask.dcm")
    with tqdm.tqdm(unit=" slices", desc=name, leave=False, disable=several, delay=1e-3) as bar:
        ready = {name: _combined(members, values, bar) for name, members in models.items()}
        if several:
            if values.overlay:
                raise UserError("--overlay is of one input", remedy="Name one, or leave --overlay out")
            if cases is None:
                named = inputs.split_names(values.input)[0][0] is not None
                cases = inputs.several_cases(paths, named=named)
                _tell_left_out(inputs.left_out(paths, cases), tuple(models))
            with contextlib.ExitStack() as stack:
                for folder in sorted({output, *_maps(values).values()}):
                    stack.enter_context(locks.writing_in(folder))
                line, facts = _several(cases, ready, output, values, fuse), None
        else:
            with locks.writing(output, *_maps(values).values()):
                line, facts = _one(inputs.one_case(paths), ready, output, values, fuse)
    print(line)
    return facts


def _tell_left_out(paths: Sequence[pathlib.Path], modalities: Sequence[str]) -> None:
    if paths:
        names = [printable(path.name) for path in paths[:_NAMED]] + ["..."] * (len(paths) > _NAMED)
        endings = " or ".join(f"_{name}" for name in modalities)
        print(f"note: {len(paths)} volumes whose names do not end in {endings} are left out: {', '.join(names)}")


def _one(case, models: Mapping, output: pathlib.Path, values: flags.FlagValues, fuse: bool) -> tuple[str, dict]:
    from semicml_tf.inference import overlay
    from semicml_tf.inference.segment_case import Outputs, segment_case

    case = dataclasses.replace(case, most_voxels=values.max_voxels)
    if values.overlay:
        overlay.check(pathlib.Path(values.overlay), output)
    try:
        facts = segment_case(case, models, Outputs(output, _maps(values)), batch_size=values.batch_size, fuse=fuse)
    except UserError:
        raise
    except Exception as error:
        told = unexpected(error, output.with_name(f"{output.name}.debug.log"))
        raise UserError(told.problem, path=next(iter(case.images.values())), remedy=told.remedy) from error
    for warning in facts.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr)
    names = " and ".join(models if fuse else [next(iter(models))])
    more = f", {facts['compared']:.0%} of the voxels compared" if "compared" in facts else ""
    line = f"{values.output}: {facts['voxels']} voxels, {facts['ml']:.1f} ml, from {names}{more}"
    if values.overlay:
        first, model = next(iter(models.items()))
        title = f"{printable(output.name)} over {case.name} ({first}): {facts['voxels']} voxels, {facts['ml']:.1f} ml"
        overlay.write(pathlib.Path(values.overlay), case.source(first), output, model.manifest.normalisation, title)
    return line, facts


def _settings(models: Mapping, values: flags.FlagValues, fuse: bool) -> dict:
    """What the outputs depend on beside their inputs."""
    return {
        "models": {name: model.origins() for name, model in models.items()},
        "threshold": next(iter(models.values())).manifest.threshold,
        "postprocessing": str(next(iter(models.values())).manifest.postprocessing),
        "flips": values.flips,
        "mc_dropout": values.mc_dropout,
        "seed": values.seed if values.mc_dropout else None,
        **({"fuse": True} if fuse else {}),
        **({"accept": sorted(values.accept)} if values.accept else {}),
    }


def _flags(values: flags.FlagValues) -> str:
    given = values.flag_values_dict().items()
    return shlex.join(f"--{name}={value}" for name, value in given if value != values[name].default)


def _several(cases: Sequence, models: Mapping, folder: pathlib.Path, values: flags.FlagValues, fuse: bool) -> str:
    import tqdm

    from semicml_tf.inference import inputs
    from semicml_tf.inference.predictions import FILE_NAME, Predictions
    from semicml_tf.inference.segment_case import Outputs, segment_case

    inputs.check_names(cases, ".dcm" if values.dicom_seg and not _maps(values) else ".nii.gz")
    cases = [dataclasses.replace(case, most_voxels=values.max_voxels) for case in cases]
    maps = _maps(values)
    taken = [folder.resolve(), *(path.resolve() for path in maps.values())]
    if len(set(taken)) < len(taken):
        raise UserError("--output and the maps need a folder each", path=folder, remedy="Name different folders")
    for case in cases:
        for path in case.images.values():
            if path.resolve().parent in taken:
                raise UserError("the outputs would lie among the inputs", path=path.parent, remedy="Choose another")
    settings = _settings(models, values, fuse)
    # Before the folder is looked at: a kill during the first write of the record leaves only a temporary file.
    for place in (folder, *maps.values()):
        atomic_files.clear_left(place)
    record = Predictions(folder, flags=_flags(values), settings=settings, overwrite=values.overwrite)
    skipped = 0
    for case in tqdm.tqdm(cases, unit=" cases", desc=f"segment {' and '.join(models)}", file=sys.stderr):
        name = f"{case.name}.nii.gz"
        mask = folder / (f"{case.name}.dcm" if values.dicom_seg else name)
        outputs = Outputs(mask, {what: place / name for what, place in maps.items()})
        if record.is_done(case, outputs):
            skipped += 1
            continue
        try:
            facts = segment_case(case, models, outputs, batch_size=values.batch_size, fuse=fuse)
        except UserError as error:
            record.failed(case, error.line)
        except Exception as error:  # no check foresaw it; the other cases go on
            record.failed(case, unexpected(error, folder / DEBUG_LOG).line)
        else:
            record.done(case, outputs, facts, settings["models"])
    failures = record.failures(cases)
    line = f"{folder}: {len(cases) - len(failures)} of {len(cases)} cases segmented"
    line += f", {skipped} of them before" if skipped else ""
    if failures:
        name, problem = next(iter(failures.items()))
        others = list(failures)[1:_NAMED] + ([f"{len(failures) - _NAMED} more"] if len(failures) > _NAMED else [])
        others = f"; also {', '.join(others)}" if others else ""
        print(line)
        raise UserError(
            f"{len(failures)} of {len(cases)} cases failed: {name} ({problem.rstrip('.')}){others}",
            path=folder / FILE_NAME,
            remedy="Mend them, and start the same command again: it does what is not done yet",
        )
    return line


def _models(text: str) -> dict[str, list]:
    """The models of ``--model``, opened, by modality in the order that they are named."""
    from semicml_tf.inference.exported_model import load
    from semicml_tf.inference.inputs import split_names
    from semicml_tf.inference.volume import check_modality

    found: dict[str, list] = {}
    for name, path in split_names(text):
        model = load(path)
        check_modality(model.manifest, name)
        found.setdefault(model.manifest.modality, []).append(model)
        if name is None and len(found) > 1:
            raise UserError(
                f"expected models of one modality, got {' and '.join(found)}",
                path=path,
                remedy="Name the modalities: --model=ct=FOLDER,pet=FOLDER",
            )
    return found


def main(values: flags.FlagValues) -> None:
    require(values, "model", "input", "output")
    segment_files(_models(values.model), values, fuse=values.fuse)


if __name__ == "__main__":
    commandline.run("semicml_tf.predict")
