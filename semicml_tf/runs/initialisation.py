"""The runs whose weights a training begins with: whole networks (--init_from) or encoders (--init_encoder_from)."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from semicml_tf.configuration import Problem
from semicml_tf.errors import UserError
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder, seen_cases
from semicml_tf.runs.run_folder import Initial, InitialChain, Run

# Fields of a specification that may differ between two networks whose encoders have the same layers.
_NOT_OF_ENCODERS = {"name", "window", "output_channels", "activation"}
_EXAMPLE = "For example --init_encoder_from=RUN, or --init_encoder_from=ct=RUN:ct once for each modality"
# One difference: the fact, its value in the run, its value now.
_Difference = tuple[str, Any, Any]


@dataclasses.dataclass(frozen=True)
class EncoderSource:
    """An element of --init_encoder_from.

    Attributes:
        modality: whose encoder is initialised; "" for all modalities.
        run: folder of the run.
        run_modality: modality of the run that has the encoder; "" for the modality of the same name.
    """

    modality: str
    run: str
    run_modality: str = ""

    @classmethod
    def parse(cls, text: str) -> EncoderSource:
        """Reads ``RUN``, ``MODALITY=RUN`` or ``MODALITY=RUN:MODALITY``."""
        modality, separator, rest = text.partition("=")
        if not separator or not modality.isidentifier():
            return cls("", text)
        run, _, run_modality = rest.rpartition(":")
        return cls(modality, run, run_modality) if run and run_modality.isidentifier() else cls(modality, rest)

    def __str__(self) -> str:
        suffix = f":{self.run_modality}" if self.run_modality else ""
        return f"{self.modality}={self.run}{suffix}" if self.modality else self.run

    def absolute(self) -> EncoderSource:
        """The same source with an absolute path."""
        return dataclasses.replace(self, run=str(pathlib.Path(self.run).absolute()))


def absolute(init_encoder_from: Sequence[str]) -> tuple[str, ...]:
    """The elements of --init_encoder_from with absolute paths."""
    return tuple(str(EncoderSource.parse(text).absolute()) for text in init_encoder_from)


def problems(init_from: str | None, init_encoder_from: Sequence[str], network: str) -> Iterator[Problem]:
    """What is wrong with both options, each problem with its remedy."""
    if not init_encoder_from:
        return
    if init_from:
        yield "expected --init_from or --init_encoder_from, got both", "Leave one of them out"
    sources = [EncoderSource.parse(text) for text in init_encoder_from]
    names = [source.modality for source in sources]
    if not all(source.run for source in sources):
        yield f"expected the folder of a run in --init_encoder_from, got '{', '.join(init_encoder_from)}'", _EXAMPLE
    if len(set(names)) < len(names) or ("" in names and len(names) > 1):
        yield f"expected --init_encoder_from once per modality, got {', '.join(init_encoder_from)}", _EXAMPLE
    if network in catalogue.NETWORKS and not _has_encoder(network):
        problem = f"expected a --network that declares its encoder for --init_encoder_from, got {network}"
        yield problem, "Choose another --network, or leave --init_encoder_from out"


def _has_encoder(network: str) -> bool:
    return "encoder" in catalogue.entry(network).features


@dataclasses.dataclass(frozen=True)
class Initialisation:
    """The initial weights of a training.

    Attributes:
        part: what is initialised.
        sources: by modality of the training, a run and its modality. Modalities without a source keep random weights.
        flags: the elements of --init_encoder_from, with absolute paths.
    """

    part: Literal["networks", "encoders"]
    sources: Mapping[str, tuple[Run, str]]
    flags: tuple[str, ...] = ()

    @classmethod
    def load(cls, init_from: str | None, init_encoder_from: Sequence[str], info: DatasetInfo) -> Initialisation | None:
        """Reads the runs that the options name; None without options.

        Raises:
            UserError: a folder is no run's, or a modality is missing in a run or in the dataset.
        """
        if init_from:
            run = Run.load(init_from)
            return cls("networks", {name: (run, name) for name in run.modalities})
        if not init_encoder_from:
            return None
        run_of = functools.cache(Run.load)
        sources = {}
        for one in map(EncoderSource.parse, init_encoder_from):
            run = run_of(one.run)
            if one.modality and one.modality not in info.modalities:
                raise UserError(
                    f"expected a modality of the dataset in --init_encoder_from={one}, one of "
                    f"{', '.join(info.modalities)}, got {one.modality}",
                    path=info.location,
                    remedy="Correct --init_encoder_from",
                )
            for name in [one.modality] if one.modality else info.modalities:
                of_run = one.run_modality or name
                if of_run not in run.modalities:
                    raise UserError(
                        f"expected a run with the modality {of_run} for the encoder of {name}, got a run with "
                        f"{', '.join(run.modalities)}",
                        path=run.folder,
                        remedy=f"Name the encoder, for example --init_encoder_from={name}={one.run}:"
                        f"{run.modalities[0]}, once for each modality that gets one",
                    )
                sources[name] = run, of_run
        return cls("encoders", sources, absolute(init_encoder_from))

    @property
    def runs(self) -> list[Run]:
        """The runs, each once."""
        return list({run.folder: run for run, _ in self.sources.values()}.values())

    @property
    def run_hash(self) -> str:
        """What the run hash of the training depends on."""
        if self.part == "networks":
            return self.runs[0].run_hash
        return json.dumps([self.part, {name: [run.run_hash, of] for name, (run, of) in self.sources.items()}])

    @property
    def best(self) -> dict[str, dict]:
        """`best` of the run whose whole networks are taken; {} for encoders, which have no scores."""
        return self.runs[0].best if self.part == "networks" else {}

    def state(self) -> list[Any]:
        """What workers must have in common: `run_hash` covers the settings of a run, and not its progress."""
        return [self.best, {name: run.weights_hash(of) for name, (run, of) in self.sources.items()}]

    def record(self, folder: pathlib.Path) -> dict[str, Any]:
        """The entries of run.json.

        Args:
            folder: of the training. A training that resumes keeps the hashes of its beginning: the run that it began
                with may have been trained further.
        """
        chain = _recorded(folder) or self._chain()
        if self.part == "networks":
            return {"initial_run": str(self.runs[0].folder), "initialisation": chain}
        return {"initial_run": None, "initial_encoders": list(self.flags), "initialisation": chain}

    def _chain(self) -> InitialChain:
        sources = {
            name: {
                "run": str(run.folder.absolute()),
                "modality": of,
                "run_hash": run.run_hash,
                "data_hash": run.data_hash,
                "weights_sha256": run.weights_hash(of),
            }
            for name, (run, of) in self.sources.items()
        }
        earlier: list[Initial] = []
        for run in self.runs:
            earlier += [one for one in run.initialisation if one not in earlier]
        return {"part": self.part, "sources": sources, "earlier": earlier}

    def check(self, info: DatasetInfo, spec: NetworkSpec) -> None:
        """Checks that the networks and the data fit, and that no patient leaks.

        Args:
            info: the data of the training.
            spec: of its networks.

        Raises:
            UserError: a fact differs; the message names each, with both values. Or a run has seen a validation or test
                patient of these data.
        """
        for run in self.runs:
            differences = [*self._of_data(run, info), *self._of_network(run, spec)]
            if differences:
                ours = ", ".join(f"{what} {now}" for what, _, now in differences)
                theirs = ", ".join(f"{what} {before}" for what, before, _ in differences)
                flag = "--init_from" if self.part == "networks" else "--init_encoder_from"
                raise UserError(
                    f"expected a run with {ours}, got {theirs}",
                    path=run.folder,
                    remedy=f"Choose another {flag}, or set the flags of training and conversion to its values",
                )
            seen_cases.check_patients(run, info)

    def _of_data(self, run: Run, info: DatasetInfo) -> Iterator[_Difference]:
        if self.part == "networks":
            if set(run.modalities) != set(info.modalities):
                yield "modalities", ",".join(run.modalities), ",".join(info.modalities)
                return
            yield from seen_cases.differences(run, info)
            return
        yield from seen_cases.differences(run, info, ("spacing_mm", "crop"))
        normalisation = seen_cases.of_run(run, info).normalisation
        for name, (source, of) in self.sources.items():
            before, now = normalisation[of], str(info.normalisation[name])
            if source is run and name == of and before != now:
                yield f"normalisation of {name}", before, now

    def _of_network(self, run: Run, spec: NetworkSpec) -> Iterator[_Difference]:
        skipped = _NOT_OF_ENCODERS if self.part == "encoders" else {"output_channels", "activation"}
        if self.part == "encoders" and not _has_encoder(run.spec.name):
            yield "network with an encoder,", run.spec.name, spec.name
        for field in dataclasses.fields(NetworkSpec):
            before, now = getattr(run.spec, field.name), getattr(spec, field.name)
            if field.name not in skipped and before != now:
                yield "network" if field.name == "name" else field.name, before, now

    def networks(self, spec: NetworkSpec) -> dict[str, Any]:
        """The initial networks by modality, with the weights of the runs.

        Args:
            spec: of the networks of the training.

        Raises:
            UserError: weights cannot be read or are not finite, or an encoder has other layers than `spec` describes.
        """
        networks = {name: _finite(run, of) for name, (run, of) in self.sources.items()}
        if self.part == "encoders":
            own = catalogue.build(spec, name="any")
            for name, (run, _) in self.sources.items():
                try:
                    own.take_encoder(networks[name])
                except ValueError as error:
                    raise UserError(
                        f"expected a run with the encoder of --network={spec.name}, but {error}",
                        path=run.folder,
                        remedy="Choose another --init_encoder_from, or the run's --network",
                    ) from error
        return networks

    def start(self, method, networks: Mapping[str, Any]) -> None:
        """Takes the initial weights over into a method with new networks.

        Args:
            method: a `methods.base.Method`.
            networks: of `networks`.
        """
        if self.part == "encoders":
            method.take_encoders(networks)
        else:
            run = self.runs[0]
            method.start_from(networks.__getitem__, {name: list(run.thresholds(name).values()) for name in networks})


def _finite(run: Run, modality: str):
    import numpy as np

    network = run.network(modality)
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        problem = f"the weights of the network of {modality} are not finite"
        raise UserError(problem, path=run.weights_file(modality), remedy="Train the run again, or choose another run")
    return network


def _recorded(folder: pathlib.Path) -> InitialChain | None:
    """The initialisation in the run.json of a folder; None without the file, or without the entry."""
    if not (folder / run_folder.FILE_NAME).is_file():
        return None
    return run_folder.read_record(folder, "Delete it").get("initialisation")
