"""The pipeline, from deliveries of cases to a served network per modality; see docs/pipeline.md."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from pipelines import study_flags
from pipelines.acceptance import Bars
from pipelines.components.latest_blessed import LatestOtherBlessed
from pipelines.components.modality_evaluator import ModalityEvaluator
from pipelines.components.model_publisher import ModelPublisher
from pipelines.components.serving_check import ServingCheck
from pipelines.components.trainers import PrelTrainer, SemiCmlTrainer

NAME = "semicml"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the model part.

    Attributes:
        semi_cml_flags, prel_flags: flags of `semicml_tf.train`, for the two trainers.
        evaluate_flags: flags of `semicml_tf.evaluate`.
        bars: requirements for a network.
        gate_margin: margin of the gate of export, in validation DSC.
        keep: number of old versions to keep; 0 for all.
        compare_with_blessed: whether candidates are compared with the latest blessed run. Without comparison, networks
            that cannot be compared, e.g. after a change of spacing, start a new line of models.
    """

    semi_cml_flags: str
    prel_flags: str
    evaluate_flags: str = ""
    bars: Bars = dataclasses.field(default_factory=Bars)
    gate_margin: float = 0.02
    keep: int = 0
    compare_with_blessed: bool = True

    @classmethod
    def of_study(
        cls,
        study: str | None,
        *,
        semi_cml_epochs: int,
        prel_epochs: int,
        train_flags: Sequence[str] = (),
        evaluate_flags: Sequence[str] = (),
        **others: Any,
    ) -> Settings:
        """Settings from the flagfile of a study.

        Args:
            study: path of a flagfile; None for the defaults of the commands.
            semi_cml_epochs, prel_epochs: numbers of epochs of the two trainers.
            train_flags, evaluate_flags: flags that override those of the study.
            others: further attributes of the class.
        """

        def train(method: str, epochs: int) -> str:
            return study_flags.flags_of(
                "semicml_tf.train", study, *train_flags, f"--method={method}", f"--epochs={epochs}"
            )

        # The components add the flags of data and patients.
        evaluate = study_flags.flags_of("semicml_tf.evaluate", study, *evaluate_flags)
        return cls(train("semi_cml", semi_cml_epochs), train("prel", prel_epochs), evaluate, **others)


def model_components(
    data: Mapping[str, BaseNode], modalities: Sequence[str], settings: Settings, *, models: str, work_root: str
) -> list[BaseNode]:
    """The components of training, evaluation and publication.

    Args:
        data: the components of the data part by key. `example_gen` makes the dataset. Training waits for all others.
        modalities: names; each has a network.
        settings: flags, bars and gate.
        models: folder of the served models.
        work_root: folder of unfinished work.
    """
    examples = data["example_gen"].outputs["examples"]
    semi_cml = SemiCmlTrainer(examples=examples, flags=settings.semi_cml_flags, work_root=work_root)
    # No training on data that a validator refuses.
    semi_cml.add_upstream_nodes([node for key, node in data.items() if key != "example_gen"])
    prel = PrelTrainer(
        examples=examples,
        initial_model=semi_cml.outputs["model"],
        flags=settings.prel_flags,
        work_root=work_root,
    )
    model = prel.outputs["model"]
    nodes = [semi_cml, prel]
    for name in modalities:
        compared = {}
        if settings.compare_with_blessed:
            resolver = tfx.dsl.Resolver(
                strategy_class=LatestOtherBlessed,
                config={"modality": name},
                candidate=model,
                model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
                blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
                pushed=tfx.dsl.Channel(type=tfx.types.standard_artifacts.PushedModel),
            ).with_id(f"LatestBlessed.{name}")
            nodes.append(resolver)
            compared = {"baseline": resolver.outputs["model"]}
        evaluator = ModalityEvaluator(
            examples=examples,
            model=model,
            modality=name,
            bars=json.dumps(dataclasses.asdict(settings.bars)),
            flags=settings.evaluate_flags,
            **compared,
        ).with_id(f"ModalityEvaluator.{name}")
        check = ServingCheck(examples=examples, model=model, modality=name).with_id(f"ServingCheck.{name}")
        publisher = ModelPublisher(
            examples=examples,
            model=model,
            evaluation=evaluator.outputs["evaluation"],
            blessing=evaluator.outputs["blessing"],
            infra_blessing=check.outputs["blessing"],
            modality=name,
            models=models,
            keep=settings.keep,
            gate_margin=settings.gate_margin,
        ).with_id(f"ModelPublisher.{name}")
        nodes += [evaluator, check, publisher]
    return nodes


def create_pipeline(
    data: Mapping[str, BaseNode],
    modalities: Sequence[str],
    settings: Settings,
    *,
    pipeline_root: str,
    models: str,
    work_root: str,
    name: str = NAME,
    metadata_path: str | None = None,
    enable_cache: bool = True,
    beam_pipeline_args: Sequence[str] = (),
) -> tfx.dsl.Pipeline:
    """The whole pipeline.

    Args:
        data: the result of `data_part.data_components`.
        modalities, settings, models, work_root: as in `model_components`.
        pipeline_root: folder of the artefacts.
        name: of the pipeline. A metadata store may have several pipelines.
        metadata_path: SQLite file of the metadata; None if the runner has its own store.
        enable_cache: whether to reuse results of earlier runs with the same inputs and settings.
        beam_pipeline_args: arguments of the components that use Beam, e.g. ``--runner=DataflowRunner``.
    """
    nodes = model_components(data, modalities, settings, models=models, work_root=work_root)
    connection = metadata_path and tfx.orchestration.metadata.sqlite_metadata_connection_config(metadata_path)
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=pipeline_root,
        components=[*data.values(), *nodes],
        enable_cache=enable_cache,
        metadata_connection_config=connection or None,
        beam_pipeline_args=list(beam_pipeline_args),
    )
