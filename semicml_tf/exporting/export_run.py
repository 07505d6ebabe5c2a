"""A run's networks published, each as a model of its own: what the command and a pipeline's step both call."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

import semicml_tf
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.evaluation import postprocessing_choice, report
from semicml_tf.exporting import gate, old_versions, trial
from semicml_tf.exporting.publish import Published, publish
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.plausibility import Plausibility
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run, read_record
from semicml_tf.system import locks, quiet_import


@dataclasses.dataclass(frozen=True)
class Exported:
    """What became of one modality's network.

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
        """For programs: `status` is ``published`` or ``held back``; the rest of it only where there is one."""
        new, former = self.published, self.former
        return {
            "status": "held back" if new is None else "published",
            "folder": None if new is None else str(new.folder),
            "version": None if new is None else new.version,
            "max_difference": None if new is None else new.max_difference,
            "validation_dice": self.manifest.validation_dice,
            "postprocessing": str(self.manifest.postprocessing),
            "former_version": None if former is None else former.version,
            "former_validation_dice": None if former is None else former.validation_dice,
            "gate": {"passed": self.verdict.passes, "reason": self.verdict.reason},
            "removed": list(self.removed),
        }


def export_run(
    run_folder: str | pathlib.Path,
    output: str | pathlib.Path,
    *,
    modalities: Sequence[str] = (),
    dataset: str = "",
    keep: int | None = None,
    gate_margin: float = gate.MARGIN,
    force: bool = False,
    probabilities_dtype: str = "float32",
    check: str = "",
) -> dict[str, Exported]:
    """Publishes the networks of a run: `output`/<modality>/<next version>/.

    The gate judges each modality alone, and all before one is published: a network that is clearly worse than the
    published one is held back, the others are published. A modality's old versions are removed once its new one is
    there, and only then.

    Args:
        run_folder: of the run.
        output: folder of the models.
        modalities: names; none means all of the run.
        dataset: folder or URL of the run's data, if it has moved.
        keep: old versions to keep beside the new one, at least 1; None keeps all.
        gate_margin: by so much may the validation DSC be below that of the published version.
        force: publish what the gate would hold back.
        probabilities_dtype: of the outputs `probabilities`, ``float32`` or ``float16``.
        check: cases that each new version must segment before it is published, as `semicml_tf.predict` and
            `semicml_tf.convert` name them; none if empty.

    Returns:
        By modality what became of it; a network that was held back is no error.

    Raises:
        UserError: there is no such run or modality, the data is not the run's, the output cannot be written to, or a
            network cannot segment a case of `check`. Networks before that one are published then.
    """
    run = Run.load(run_folder)
    info = DatasetInfo.load(dataset or run.dataset)
    if info.data_hash != run.data_hash:
        raise UserError(
            "expected the data that the run was trained on, got data with another hash",
            path=info.location,
            remedy="Train again on this data, or put the former data back",
        )
    chosen = tuple(modalities or run.modalities)
    unknown = [name for name in chosen if name not in run.modalities]
    if unknown:
        raise UserError(f"expected --modalities among {', '.join(run.modalities)}, got '{unknown[0]}'", path=run.folder)
    postprocessing = postprocessing_choice.load(run)
    folders = {modality: pathlib.Path(output) / modality for modality in chosen}
    trials = {
        modality: functools.partial(trial.run, chosen=trial.cases(check, modality)) if check else None
        for modality in chosen
    }
    with contextlib.ExitStack() as stack:
        for modality in sorted(chosen):
            stack.enter_context(locks.writing_in(folders[modality]))
            old_versions.clear_left(folders[modality])
        return _export(run, info, folders, postprocessing, trials, keep, gate_margin, force, probabilities_dtype)


def _export(
    run: Run,
    info: DatasetInfo,
    folders: Mapping[str, pathlib.Path],
    postprocessing: Mapping[str, Postprocessing],
    trials: Mapping[str, Callable[[pathlib.Path], None] | None],
    keep: int | None,
    gate_margin: float,
    force: bool,
    probabilities_dtype: str,
) -> dict[str, Exported]:
    from tqdm import tqdm

    chosen, found = tuple(folders), {}
    for modality in chosen:
        manifest = _manifest(run, info, modality, postprocessing[modality], probabilities_dtype)
        former = gate.Former.find(folders[modality])
        found[modality] = Exported(manifest, None, former, gate.judge(manifest, former, gate_margin))
    passing = [modality for modality, one in found.items() if one.verdict.passes or force]
    quiet_import.tensorflow()
    for modality in tqdm(passing, desc="exporting", file=sys.stderr, disable=not passing):
        network = run.network(modality)
        published = publish(
            network,
            found[modality].manifest,
            folders[modality],
            settings=_settings(run),
            with_dropout=_with_dropout(network, run),
            trial=trials[modality],
        )
        removed = () if keep is None else old_versions.remove(folders[modality], published.version, keep)
        found[modality] = dataclasses.replace(found[modality], published=published, removed=removed)
    return found


def _settings(run: Run) -> dict:
    """The training's settings for the model card, as far as run.json has them."""
    return dict(read_record(run.folder).get("settings", {}))


def _manifest(
    run: Run, info: DatasetInfo, modality: str, postprocessing: Postprocessing, probabilities_dtype: str
) -> Manifest:
    return Manifest(
        modality=modality,
        spacing_mm=info.spacing_mm,
        normalisation=info.normalisation[modality],
        window=run.window,
        label_values=info.label_values,
        threshold=run.threshold(modality),
        data_hash=run.data_hash,
        run_hash=run.run_hash,
        weights_hash=run.weights_hash(modality),
        validation_dice=run.best.get(modality, {}).get("dice"),
        validation_scores=_validation_scores(run, modality, postprocessing),
        semicml_tf_version=semicml_tf.__version__,
        crop=info.crop,
        postprocessing=postprocessing,
        probabilities_dtype=probabilities_dtype,
        plausibility=Plausibility.of(info.normalisation[modality], info.accepted),
    )


def _validation_scores(run: Run, modality: str, postprocessing: Postprocessing) -> dict[str, float]:
    """Means over the validation patients by measure, if the very masks that clients get were scored; else none."""
    path = run.folder / "evaluation" / "validation" / report.FILE_NAME
    if not path.is_file():
        return {}
    body = report.load(path)
    made = (body["run"]["run_hash"], body["run"]["best"], body.get("postprocessing", {}).get(modality, "none"))
    if made != (run.run_hash, run.best, str(postprocessing)):
        return {}
    rows = [row for row in body["rows"] if row["modality"] == modality]
    means = {name: one["mean"] for row in rows for name, one in row["summary"].items() if name in report.MEASURES}
    return {name: mean for name, mean in means.items() if mean is not None}


def _with_dropout(network, run: Run):
    """The network with the teacher's dropout, of the same weights; None where it is no U-Net, which has it."""
    from semicml_tf.networks.unet import levels_of, unet

    if not levels_of(network):
        return None
    return unet(run.window, run.width, name=f"{network.name}_with_dropout", dropout_on=network)
