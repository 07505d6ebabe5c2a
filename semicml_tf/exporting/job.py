"""The job of `semicml_tf.export`: publishes the networks of a run or an ensemble, one model per modality."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.exporting import gate
from semicml_tf.exporting.config import ExportConfig
from semicml_tf.exporting.members import Members
from semicml_tf.exporting.publish import Published, clear_left, remove_old, stage
from semicml_tf.inference import inputs
from semicml_tf.system import atomic_files, locks, progress, quiet_import

REPORT_NAME = "export.json"
_NAMED = 5  # failed cases that an error names


@dataclasses.dataclass(frozen=True)
class Exported:
    """The outcome for one modality's network.

    Attributes:
        manifest: of the network.
        published: the new version; None where the gate held it back.
        former: the version that was published before; None where there was none.
        verdict: the gate's, also where it was overruled.
        removed: numbers of the old versions that were removed.
    """

    manifest: Manifest
    published: Published | None
    former: gate.Former | None
    verdict: gate.Verdict
    removed: tuple[int, ...] = ()

    def as_json(self) -> dict:
        """For programs: `status` is ``published``, ``held back`` by the gate, or ``failed``."""
        new, former = self.published, self.former
        missing = "failed" if self.verdict.passes else "held back"
        return {
            "status": missing if new is None else "published",
            "folder": None if new is None else str(new.folder),
            "version": None if new is None else new.version,
            "max_difference": None if new is None else new.max_difference,
            "validation_dice": self.manifest.validation_dice,
            "postprocessing": self.manifest.steps_text,
            "former_version": None if former is None else former.version,
            "former_validation_dice": None if former is None else former.validation_dice,
            "gate": {"passed": self.verdict.passes, "reason": self.verdict.reason},
            "removed": list(self.removed),
        }

    def text(self, modality: str) -> list[str]:
        """Lines for the screen; none where the network was held back."""
        new = self.published
        if new is None:
            return []
        lines = [f"{new.folder}: version {new.version}, equal to memory within {new.max_difference:.1e}"]
        if self.verdict.reason:
            forced = "" if self.verdict.passes else ": published by --force"
            lines.append(f"{modality}: {self.verdict.reason}{forced}")
        if self.removed:
            lines.append(f"{modality}: old versions removed: {', '.join(map(str, self.removed))}")
        return lines


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """The outcome of an export.

    Attributes:
        folder: of the models; export.json lies there.
        models: by modality.
        gate_margin: of the gate.
        warnings: lines for stderr.
    """

    folder: pathlib.Path
    models: dict[str, Exported]
    gate_margin: float
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Lines for the screen."""
        return "\n".join(line for modality, one in self.models.items() for line in one.text(modality))

    @property
    def problem(self) -> UserError | None:
        """The error of the command if the gate held a network back, else None."""
        held = [f"{modality}: {one.verdict.reason}" for modality, one in self.models.items() if one.published is None]
        if not held:
            return None
        published = [f"{modality} {one.published.version}" for modality, one in self.models.items() if one.published]
        return UserError(
            f"not published, worse by more than {self.gate_margin:g}: {'; '.join(held)}. "
            f"Published: {', '.join(published) or 'none'}",
            path=self.folder,
            remedy="Pass --force to publish all the same, or --gate_margin to allow a larger fall",
        )


def export(config: ExportConfig) -> ExportResult:
    """Publishes the networks of a run: ``config.output/<modality>/<next version>/``, and export.json.

    Of an ensemble of runs (`semicml_tf.write_ensemble`), a model answers the mean of the runs' probabilities; see
    `ensemble.mean_manifest`. The gate judges each modality alone: a network that is clearly worse than the published
    one is held back, the others are published. All networks are written and checked before the first one gets its
    number. Old versions are removed after that.

    Returns:
        The outcome by modality. A network that was held back is no error.

    Raises:
        UserError: there is no such run or modality, the data are not the run's, the runs of an ensemble do not fit
            each other, the output cannot be written to, or a network cannot segment a case of ``config.check_input``.
    """
    members = Members.load(config.run, config.dataset)
    chosen = config.modalities or members.modalities
    unknown = [name for name in chosen if name not in members.modalities]
    if unknown:
        raise UserError(
            f"expected --modalities among {', '.join(members.modalities)}, got '{unknown[0]}'", path=members.folder
        )
    cases = {modality: trial_cases(config.check_input, modality) if config.check_input else [] for modality in chosen}
    warnings = members.warnings()
    output = pathlib.Path(config.output)
    with contextlib.ExitStack() as stack:
        for modality in sorted(chosen):
            stack.enter_context(locks.writing_in(output / modality))
            clear_left(output / modality)
        models = {}
        for modality in chosen:
            manifest = members.manifest(modality, config.probabilities_dtype)
            former = gate.Former.find(output / modality)
            models[modality] = Exported(manifest, None, former, gate.judge(manifest, former, config.gate_margin))
        try:
            _publish(members, models, cases, config)
        except BaseException:
            if any(one.published for one in models.values()):
                _write_report(members, output, models)
            raise
        _write_report(members, output, models)
    return ExportResult(output, models, config.gate_margin, warnings)


def _publish(
    members: Members, models: dict[str, Exported], cases: Mapping[str, list[inputs.Case]], config: ExportConfig
) -> None:
    """Publishes the networks that pass the gate, and enters each into `models`."""
    passing = [modality for modality, one in models.items() if one.verdict.passes or config.force]
    quiet_import.tensorflow()
    settings = members.settings()
    folders = {modality: pathlib.Path(config.output) / modality for modality in passing}
    with contextlib.ExitStack() as stack:
        staged = {}
        for modality in progress.bar(passing, desc="exporting", disable=not passing):
            network, with_dropout = members.networks(modality)
            staged[modality] = stack.enter_context(
                stage(
                    network,
                    models[modality].manifest,
                    folders[modality],
                    settings=settings,
                    with_dropout=with_dropout,
                )
            )
            run_trial(staged[modality].path, cases[modality])
        for modality in passing:
            models[modality] = dataclasses.replace(models[modality], published=staged[modality].publish())
    for modality in passing if config.keep is not None else ():
        removed = remove_old(folders[modality], models[modality].published.version, config.keep)
        models[modality] = dataclasses.replace(models[modality], removed=removed)


def _write_report(members: Members, output: pathlib.Path, models: Mapping[str, Exported]) -> None:
    body = {**members.to_json(), "models": {modality: one.as_json() for modality, one in models.items()}}
    with locks.writing(output / REPORT_NAME):
        atomic_files.write_json(output / REPORT_NAME, body)


def trial_cases(location: str, modality: str) -> list[inputs.Case]:
    """The cases of ``--check_input`` that have an image of `modality`.

    Args:
        location: a file, a folder or a CSV manifest, as for `semicml_tf.predict` and `semicml_tf.convert`.
        modality: the modality of the network.

    Raises:
        UserError: `location` has no such case.
    """
    cases = inputs.of_layout(location, (modality,))
    if cases is None:
        paths = inputs.by_modality(location, (modality,))
        cases = inputs.several_cases(paths, named=inputs.split_names(location)[0][0] is not None)
    cases = [case for case in cases if modality not in case.lacks]
    if not cases:
        raise UserError(
            f"expected cases with an image of '{modality}', got none", path=location, remedy="Correct --check_input"
        )
    return cases


def run_trial(folder: pathlib.Path, cases: Sequence[inputs.Case]) -> None:
    """Segments each case with the model in `folder`.

    Raises:
        UserError: the model cannot segment a case; the message names each such case.
    """
    from semicml_tf.inference.exported_model import load

    if not cases:
        return
    model = load(folder)
    failures = []
    for case in cases:
        try:
            array, grid = case.source(model.manifest.modality).read_volume()
            model.predict(array, grid.affine)
        except UserError as error:
            failures.append(f"{case.name} ({error.line.rstrip('.')})")
    if failures:
        more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        raise UserError(
            f"{len(failures)} of {len(cases)} cases of --check_input cannot be segmented: "
            f"{'; '.join(failures[:_NAMED])}{more}",
            remedy="Nothing was published. Correct these cases, or leave them out of --check_input",
        )
