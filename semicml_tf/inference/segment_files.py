"""Volumes on disk become masks and maps on disk: one case, or a folder of cases with a record of them."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.configuration import as_flags, given
from semicml_tf.errors import UserError, printable, unexpected
from semicml_tf.files.dicom import seg_writer
from semicml_tf.inference import inputs, overlay
from semicml_tf.inference.config import SegmentConfig
from semicml_tf.inference.outputs import MAPS, Outputs
from semicml_tf.inference.predictions import FILE_NAME, Predictions
from semicml_tf.inference.segment_case import segment_case
from semicml_tf.inference.segmenter_wrappers import Ensemble, Flipped, MonteCarlo, WithProgress
from semicml_tf.inference.volume import check_classes, check_modality
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.plausibility import accepted_codes
from semicml_tf.system import atomic_files, locks, progress

DEBUG_LOG = "predictions.debug.log"
_NAMED = 5  # failed cases that the last line names; predictions.json has all


@dataclasses.dataclass(frozen=True)
class PredictResult:
    """Segmented volumes.

    Attributes:
        output: the mask of one case, or the folder of several masks.
        facts: of one case, see `segment_case`; None for several cases.
        failures: problems of those of several cases that failed, by case. predictions.json has all cases.
        text: one line for the screen.
        warnings: lines for stderr about odd properties of the image of one case.
        cases: number of cases.
    """

    output: pathlib.Path
    facts: dict | None
    failures: dict[str, str]
    text: str
    warnings: tuple[str, ...] = ()
    cases: int = 1

    @property
    def problem(self) -> UserError | None:
        """The error of the command if cases failed, else None."""
        if not self.failures:
            return None
        name, problem = next(iter(self.failures.items()))
        others = list(self.failures)[1:_NAMED]
        others += [f"{len(self.failures) - _NAMED} more"] if len(self.failures) > _NAMED else []
        also = f"; also {', '.join(others)}" if others else ""
        return UserError(
            f"{len(self.failures)} of {self.cases} cases failed: {name} ({problem.rstrip('.')}){also}",
            path=self.output / FILE_NAME,
            remedy="Correct them, and run the same command again: it segments the remaining cases",
        )


def segment_files(
    models: Mapping[str, Sequence],
    config: SegmentConfig,
    *,
    paths: Mapping[str, tuple[pathlib.Path, ...]] | None = None,
    fuse: bool = False,
) -> PredictResult:
    """Segments ``config.input``, and writes ``config.output`` and the further outputs.

    Args:
        models: by modality its `Segmenter`s, at least one; the first modality draws the mask.
        paths: the inputs by modality; None takes them from ``config.input``.
        fuse: all models draw the mask together, on the first one's grid.

    Returns:
        The outcome. If some of several cases fail, the others are segmented, and `PredictResult.problem` is set.

    Raises:
        UserError: an input is no volume of its model's modality, or an output cannot be written.
    """
    first = next(iter(models.values()))[0].manifest
    check_modality(first, config.modality)
    check_classes(model.manifest for members in models.values() for model in members)
    codes = seg_writer.parse_codes(config.segment_codes, first.labels.names)
    _check_maps(config, models, fuse)
    output = pathlib.Path(config.output)
    is_image = output.name.endswith((*inputs.NIFTI_ENDINGS, ".dcm"))
    cases = inputs.of_layout(config.input, tuple(models)) if paths is None else None
    if cases is not None and is_image:
        raise UserError("expected a folder for the masks of several cases", path=output, remedy="Name another --output")
    if cases is None and paths is None:
        paths = inputs.by_modality(config.input, tuple(models))
    flat = [path for same in (paths or {}).values() for path in same]
    is_one = cases is None and (is_image or (len(flat) == len(paths) and not any(map(os.path.isdir, flat))))
    if config.dicom_seg and is_one and not output.name.endswith(".dcm"):
        raise UserError("--dicom_seg writes .dcm files, got another name", path=output, remedy="Pass --output=mask.dcm")
    if codes and not (config.dicom_seg or output.name.endswith(".dcm")):
        raise UserError(
            "--segment_codes are of a DICOM-SEG", path=output, remedy="Pass --dicom_seg or --output=mask.dcm"
        )
    # The bar appears late, so that a refused input is one line. With several cases, another bar counts the cases.
    name = f"segment {' and '.join(models)}"
    with progress.bar(unit=" slices", desc=name, leave=False, disable=not is_one, delay=1e-3) as bar:
        ready = {name: _combined(members, config, bar) for name, members in models.items()}
        if is_one:
            with locks.writing(output, *_maps(config).values()):
                return _one(inputs.one_case(paths), ready, output, config, fuse, codes)
        if config.overlay:
            raise UserError("--overlay is for one input", remedy="Name one input, or leave --overlay out")
        if cases is None:
            named = inputs.split_names(config.input)[0][0] is not None
            cases = inputs.several_cases(paths, named=named)
            _report_left_out(inputs.left_out(paths, cases), tuple(models))
        with contextlib.ExitStack() as stack:
            for folder in sorted({output, *_maps(config).values()}):
                stack.enter_context(locks.writing_in(folder))
            return _several(cases, ready, output, config, fuse, codes)


def check_outputs(config: SegmentConfig) -> None:
    """Checks what can be checked of the outputs before TensorFlow and the models are loaded.

    Raises:
        UserError: an output cannot be written.
    """
    for path in (config.output, *_maps(config).values()):
        atomic_files.check_writable(path)


def _check_maps(config: SegmentConfig, models: Mapping[str, Sequence], fuse: bool) -> None:
    if fuse and len(models) < 2:
        raise UserError(
            "--fuse needs models of several modalities",
            remedy="Pass --model=ct=FOLDER,pet=FOLDER, or leave it out",
        )
    if fuse and config.mutual_information:
        raise UserError(
            "--mutual_information is for the passes of one modality", remedy="Leave it out, or leave --fuse out"
        )
    if config.disagreement and len(models) < 2:
        raise UserError(
            "--disagreement needs models of several modalities",
            remedy="Pass --model=ct=FOLDER,pet=FOLDER, or leave it out",
        )
    if config.mutual_information and config.mc_dropout < 2 and len(next(iter(models.values()))) < 2:
        raise UserError(
            "--mutual_information needs several answers", remedy="Pass --mc_dropout=20, or several models of a modality"
        )


def _maps(config: SegmentConfig) -> dict[str, pathlib.Path]:
    return {name: pathlib.Path(getattr(config, name)) for name in MAPS if getattr(config, name)}


def _combined(members: Sequence, config: SegmentConfig, bar) -> Ensemble:
    """The models of one modality as one segmenter, with the passes of the configuration."""
    made = [WithProgress(model, bar) for model in members]
    for model in made:
        model.overlap = config.overlap
        manifest = model.manifest.accepting(accepted_codes(config.accept))
        model.manifest = dataclasses.replace(
            manifest,
            thresholds=_thresholds(config.mask_threshold, manifest),
            postprocessing=_postprocessing(config.postprocess, manifest),
        )
    if config.flips:
        made = [Flipped(model) for model in made]
    if config.mc_dropout:
        for model in members:
            model.check_dropout()
        made = [MonteCarlo(model, config.mc_dropout, config.seed) for model in made]
    return Ensemble(made)


def _thresholds(texts: Sequence[str], manifest: Manifest) -> dict[str, float]:
    """The model's thresholds, and in their place what ``--mask_threshold`` says.

    Raises:
        UserError: a text is no threshold of a region of the model.
    """
    own = dict(manifest.thresholds)
    if texts and not own:
        raise UserError(
            "--mask_threshold is for regions, but the model's classes exclude each other",
            remedy="Leave --mask_threshold out",
        )
    for text in texts:
        name, _, value = text.rpartition("=")
        name = name or (next(iter(own)) if len(own) == 1 else "")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in own or not 0 < number <= 1:
            known = " or ".join(f"{name}=VALUE" for name in own)
            raise UserError(
                f"expected --mask_threshold={known} with a value above 0 and at most 1, got '{text}'",
                remedy="Correct --mask_threshold",
            )
        own[name] = number
    return own


def _postprocessing(text: str | None, manifest: Manifest) -> Postprocessing | dict[str, Postprocessing]:
    """The model's post-processing, and in its place what ``--postprocess`` says of all classes, or of some.

    Raises:
        UserError: a step is unknown, or a class is not one of the model or is named twice.
    """
    if text is None:
        return manifest.postprocessing
    head, equals, _ = text.partition("=")
    if "," not in text and (not equals or head.strip().endswith("min_ml")):
        return Postprocessing.parse(text)
    chosen: dict[str, Postprocessing] = {}
    for part in text.split(","):
        name, equals, steps = part.strip().partition("=")
        if not equals or name not in manifest.steps or name in chosen:
            known = ", ".join(manifest.steps)
            raise UserError(
                f"expected --postprocess=STEPS, or NAME=STEPS,... with each of the classes {known} at most once, got "
                f"'{part.strip()}'",
                remedy="Correct --postprocess",
            )
        chosen[name] = Postprocessing.parse(steps)
    return manifest.steps | chosen


def _report_left_out(paths: Sequence[pathlib.Path], modalities: Sequence[str]) -> None:
    if paths:
        names = [printable(path.name) for path in paths[:_NAMED]] + ["..."] * (len(paths) > _NAMED)
        endings = " or ".join(f"_{name}" for name in modalities)
        text = f"note: skipped {len(paths)} volumes whose names do not end in {endings}: {', '.join(names)}"
        print(text, file=sys.stderr)


def _one(
    case, models: Mapping, output: pathlib.Path, config: SegmentConfig, fuse: bool, codes: Mapping
) -> PredictResult:
    case = dataclasses.replace(case, most_voxels=config.max_voxels)
    if config.overlay:
        overlay.check(pathlib.Path(config.overlay), output)
    outputs = Outputs(output, _maps(config), next(iter(models.values())).manifest.labels)
    try:
        facts = segment_case(case, models, outputs, batch_size=config.batch_size, fuse=fuse, segment_codes=codes)
    except UserError:
        raise
    except Exception as error:
        unforeseen = unexpected(error, output.with_name(f"{output.name}.debug.log"))
        path = next(iter(case.images.values()))
        raise UserError(unforeseen.problem, path=path, remedy=unforeseen.remedy) from error
    size = _size(facts)
    names = " and ".join(models if fuse else [next(iter(models))])
    compared = f", {facts['compared']:.0%} of the voxels compared" if "compared" in facts else ""
    if config.overlay:
        first, model = next(iter(models.items()))
        title = f"{printable(output.name)} over {case.name} ({first}): {size}"
        how = model.manifest.normalisation
        overlay.write(pathlib.Path(config.overlay), case.source(first), overlay.masks_of(outputs), how, title)
    text = f"{config.output}: {size}, from {names}{compared}"
    return PredictResult(output, facts, {}, text, tuple(f"warning: {one}" for one in facts.get("warnings", ())))


def _size(facts: Mapping) -> str:
    """The volume of the mask, or of each class."""
    if not isinstance(facts["voxels"], dict):
        return f"{facts['voxels']} voxels, {facts['ml']:.1f} ml"
    return ", ".join(f"{name} {volume:.1f} ml" for name, volume in facts["ml"].items())


def _settings(models: Mapping, config: SegmentConfig, fuse: bool) -> dict:
    """What the outputs depend on beside their inputs."""
    manifest = next(iter(models.values())).manifest
    thresholds = dict(manifest.thresholds)
    return {
        "models": {name: model.origins() for name, model in models.items()},
        "threshold": manifest.threshold if len(thresholds) == 1 else thresholds,
        "postprocessing": manifest.steps_text,
        **({} if manifest.labels.is_plain else {"labels": manifest.labels.to_json()}),
        "flips": config.flips,
        "mc_dropout": config.mc_dropout,
        "seed": config.seed if config.mc_dropout else None,
        **({} if config.overlap is None else {"overlap": config.overlap}),
        **({"fuse": True} if fuse else {}),
        **({"accept": sorted(config.accept)} if config.accept else {}),
        **({"segment_codes": sorted(config.segment_codes)} if config.segment_codes else {}),
    }


def _several(
    cases: Sequence, models: Mapping, folder: pathlib.Path, config: SegmentConfig, fuse: bool, codes: Mapping
) -> PredictResult:
    labels = next(iter(models.values())).manifest.labels
    longest = max((f"_{name}" for name in labels.names), key=len) if len(labels.names) > 1 else ""
    inputs.check_names(cases, ".dcm" if config.dicom_seg and not _maps(config) else f"{longest}.nii.gz")
    cases = [dataclasses.replace(case, most_voxels=config.max_voxels) for case in cases]
    maps = _maps(config)
    taken = [folder.resolve(), *(path.resolve() for path in maps.values())]
    if len(set(taken)) < len(taken):
        raise UserError("--output and the maps need a folder each", path=folder, remedy="Name different folders")
    for case in cases:
        for path in case.images.values():
            if path.resolve().parent in taken:
                raise UserError("the outputs would lie among the inputs", path=path.parent, remedy="Choose another")
    planned, files = [], {}
    for case in cases:
        name = f"{case.name}.nii.gz"
        mask = folder / (f"{case.name}.dcm" if config.dicom_seg else name)
        outputs = Outputs(mask, {what: place / name for what, place in maps.items()}, labels)
        planned.append((case, outputs))
        for path in outputs.files().values():
            if files.setdefault(path, case.name) != case.name:
                raise UserError(
                    f"cases {files[path]} and {case.name} have one output", path=path, remedy="Rename one of them"
                )
    settings = _settings(models, config, fuse)
    # Before the folder is looked at: a kill during the first write of the record leaves only a temporary file.
    for place in (folder, *maps.values()):
        atomic_files.clear_left(place)
    words = shlex.join(as_flags(config, given(config)))
    record = Predictions(folder, flags=words, settings=settings, overwrite=config.overwrite)
    skipped = 0
    for case, outputs in progress.bar(planned, unit=" cases", desc=f"segment {' and '.join(models)}"):
        if record.is_done(case, outputs):
            skipped += 1
            continue
        try:
            facts = segment_case(case, models, outputs, batch_size=config.batch_size, fuse=fuse, segment_codes=codes)
        except UserError as error:
            record.failed(case, error.line)
        except Exception as error:  # no check foresaw it; the other cases are segmented
            record.failed(case, unexpected(error, folder / DEBUG_LOG).line)
        else:
            record.done(case, outputs, facts, settings["models"])
    failures = record.failures(cases)
    text = f"{folder}: {len(cases) - len(failures)} of {len(cases)} cases segmented"
    text += f", {skipped} of them before" if skipped else ""
    return PredictResult(folder, None, failures, text, cases=len(cases))
