"""The trained networks of an export: those of a run, or those of an ensemble's runs, which answer together."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import semicml_tf
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.configuration import as_list
from semicml_tf.errors import UserError
from semicml_tf.evaluation import data_provenance, postprocessing_choice, report
from semicml_tf.evaluation.metrics.catalogue import METRICS
from semicml_tf.exporting.ensemble import MeanNetwork, combined_hash, mean_manifest
from semicml_tf.networks import catalogue
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.plausibility import Plausibility
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import seen_cases
from semicml_tf.runs.ensemble import is_ensemble, read_ensemble
from semicml_tf.runs.run_folder import Run, initial_weights_text, read_record
from semicml_tf.runs.settings import recorded_flags

_Steps = Mapping[str, Mapping[str, Postprocessing]]


@dataclasses.dataclass(frozen=True)
class Members:
    """Runs whose networks of a modality become one model.

    Attributes:
        folder: of the run, or of the ensemble.
        runs: one, or the members of the ensemble.
        infos: the dataset of each run.
        postprocessing: of each run, by modality and class.
    """

    folder: pathlib.Path
    runs: tuple[Run, ...]
    infos: tuple[DatasetInfo, ...]
    postprocessing: tuple[_Steps, ...]

    @classmethod
    def load(cls, folder: str | pathlib.Path, dataset: str | None) -> Members:
        """Reads a run, or an ensemble of runs.

        Args:
            dataset: folder or URL of the data of all runs; None means each run's own.

        Raises:
            UserError: there is no run, the data are not the run's, or the runs of an ensemble do not fit each other.
        """
        runs = read_ensemble(folder) if is_ensemble(folder) else (Run.load(folder),)
        infos = tuple(_data(run, dataset) for run in runs)
        found = cls(pathlib.Path(folder), runs, infos, tuple(postprocessing_choice.load(run) for run in runs))
        found._check_agreement()
        return found

    def _check_agreement(self) -> None:
        """Raises UserError if two runs read other images, have other classes, or other networks."""
        first = _facts(self.runs[0], self.infos[0])
        for run, info in zip(self.runs[1:], self.infos[1:]):
            facts = _facts(run, info)
            for what in first:
                if facts[what] != first[what]:
                    raise UserError(
                        f"expected runs with the same {what} in an ensemble, got {first[what]} in "
                        f"{self.runs[0].folder} and {facts[what]} in {run.folder}",
                        path=self.folder,
                        remedy="Write the ensemble again with runs that fit each other",
                    )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, one model each."""
        return self.runs[0].modalities

    @property
    def run_hash(self) -> str:
        """Of the run, or of all runs together."""
        return combined_hash([run.run_hash for run in self.runs])

    def to_json(self) -> dict[str, Any]:
        """For programs: what was exported."""
        body: dict[str, Any] = {"run": str(self.folder), "run_hash": self.run_hash}
        if len(self.runs) > 1:
            body["members"] = [{"run": str(run.folder), "run_hash": run.run_hash} for run in self.runs]
        return body

    def manifest(self, modality: str, probabilities_dtype: str) -> Manifest:
        """The manifest of a modality's model."""
        parts = zip(self.runs, self.infos, self.postprocessing)
        return mean_manifest([_manifest(*part, modality, probabilities_dtype) for part in parts])

    def networks(self, modality: str) -> tuple[Any, Any]:
        """A modality's network, and the same network with the teacher's dropout: None if there is no dropout."""
        networks = [run.network(modality) for run in self.runs]
        with_dropout = [_with_dropout(network, run) for network, run in zip(networks, self.runs)]
        if len(networks) == 1:
            return networks[0], with_dropout[0]
        return MeanNetwork(networks), None if None in with_dropout else MeanNetwork(with_dropout)

    def settings(self) -> dict[str, Any]:
        """The settings of the training; of several runs, a setting that differs has the values of all of them."""
        records = [read_record(run.folder) for run in self.runs]
        settings = [recorded_flags(record) for record in records]
        initial = [initial_weights_text(record) for record in records]
        if any(initial):
            settings = [{**flags, "initial weights": text or "random"} for flags, text in zip(settings, initial)]
        names = dict.fromkeys(itertools.chain.from_iterable(settings))
        return {name: _one_or_all([each.get(name) for each in settings]) for name in names}

    def warnings(self) -> tuple[str, ...]:
        """Lines for stderr: test cases of a member that another member was trained or validated on."""
        if len(self.runs) == 1:
            return ()
        seen = seen_cases.union(zip(self.runs, self.infos))
        tested = {case.case_id for info in self.infos for case in info.partitions.get("test", ())}
        known = tested & {*seen.trained_on, *seen.validated_on}
        if not known:
            return ()
        return (
            f"warning: of the {len(tested)} test cases of the ensemble's runs, other members have seen {len(known)}. "
            "Scores of the ensemble on these cases would be optimistic.",
        )


def _one_or_all(values: Sequence[Any]) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    return " / ".join(as_list(value) if isinstance(value, list) else str(value) for value in values)


def _data(run: Run, dataset: str | None) -> DatasetInfo:
    info = data_provenance.read(run, dataset)
    if info.data_hash != run.data_hash:
        raise UserError(
            f"expected the data that the run {run.folder} was trained on, got data with another hash",
            path=info.location,
            remedy="Train again on this data, or put the former data back",
        )
    return info


def _facts(run: Run, info: DatasetInfo) -> dict[str, str]:
    """What the members of an ensemble have in common, in words."""
    facts = {
        "modalities": ", ".join(sorted(run.modalities)),
        "classes": info.labels.described(),
        "spacing_mm": "x".join(f"{size:g}" for size in info.spacing_mm),
        "normalisation": ", ".join(f"{name}={info.normalisation[name]}" for name in sorted(run.modalities)),
        "crop": info.crop,
    }
    return facts | {f"{name} of the network": str(value) for name, value in vars(run.spec).items()}


def _manifest(run: Run, info: DatasetInfo, steps: _Steps, modality: str, probabilities_dtype: str) -> Manifest:
    return Manifest(
        modality=modality,
        spacing_mm=info.spacing_mm,
        normalisation=info.normalisation[modality],
        window=run.window,
        context_slices=run.patch.context_slices,
        labels=info.labels,
        thresholds=run.thresholds(modality),
        data_hash=run.data_hash,
        run_hash=run.run_hash,
        weights_hash=run.weights_hash(modality),
        validation_dice=run.best.get(modality, {}).get("dice"),
        validation_scores=_validation_scores(run, modality, steps[modality]),
        semicml_tf_version=semicml_tf.__version__,
        crop=info.crop,
        postprocessing=steps[modality],
        probabilities_dtype=probabilities_dtype,
        plausibility=Plausibility.of(info.normalisation[modality], info.accepted),
    )


def _validation_scores(run: Run, modality: str, postprocessing: Mapping[str, Postprocessing]) -> dict[str, float]:
    """Means over validation patients and classes by measure, if the very masks that clients get were scored."""
    path = run.folder / "evaluation" / "validation" / report.FILE_NAME
    if not path.is_file():
        return {}
    body = report.load(path)
    if "run" not in body or "flips" in body or "overlap" in body:
        return {}
    held = body.get("postprocessing", {}).get(modality, "none")
    steps = dict.fromkeys(postprocessing, held) if isinstance(held, str) else held
    made = (body["run"]["run_hash"], body["run"]["best"], steps)
    if made != (run.run_hash, run.best, {one: str(own) for one, own in postprocessing.items()}):
        return {}
    rows = [row for row in report.networks(body) if row["modality"] == modality]
    means = {name: one["mean"] for row in rows for name, one in row["summary"].items() if name in METRICS}
    return {name: mean for name, mean in means.items() if mean is not None}


def _with_dropout(network, run: Run):
    """The network with the teacher's dropout, of the same weights; None where the network has no dropout."""
    return catalogue.with_dropout(network) if catalogue.entry(run.spec.name).dropout else None
