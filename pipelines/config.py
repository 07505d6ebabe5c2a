"""The options of the two runners: `pipelines.local_runner` and `pipelines.kubeflow_v2_runner`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from pipelines.acceptance import Bars
from semicml_tf.configuration import Problem, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Publication(Bars):
    """The networks that are judged and published, and the requirements for them."""

    modalities: tuple[str, ...] = option(
        (), help="Modalities whose networks are judged and published. The default is all modalities of the study."
    )
    gate_margin: float = option(0.02, help="Margin of export's gate, in validation DSC.", low=0)
    keep: int = option(0, help="Old versions to keep beside a new version. 0 keeps all versions.", low=0)

    @property
    def bars(self) -> Bars:
        """The requirements for a network."""
        return Bars(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Bars)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deliveries:
    """The deliveries that are read, and their check."""

    span: int | None = option(None, help="Last delivery to read. The default is the newest delivery.", low=0)
    schema: str | None = option(
        None, help="Curated schema of the cases' cards. The default is the phantom's schema.", path=True
    )
    on_anomaly: str = option(
        "fail", help="Whether deliveries with anomalies stop the run, or cause a warning.", choices=("fail", "warn")
    )
    beam_flag: tuple[str, ...] = option(
        (), help="Flag of Apache Beam, e.g. --runner=DataflowRunner or --runner=FlinkRunner.", repeated=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainers:
    """The study, and the options of its two trainers."""

    study: str = option(help="Flagfile of the study. Every command gets its flags.", path=True)
    semi_cml_epochs: int | None = option(
        None, help="Epochs of Semi-CML. The default is the first number of the study's --epochs.", low=1
    )
    prel_epochs: int | None = option(
        None, help="Epochs of PReL. The default is the second number of the study's --epochs.", low=1
    )
    train_flag: tuple[str, ...] = option((), help="Flag of semicml_tf.train, for both trainers.", repeated=True)
    evaluate_flag: tuple[str, ...] = option((), help="Flag of semicml_tf.evaluate.", repeated=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalRunnerConfig(Deliveries, Publication, Trainers):
    """Options of `pipelines.local_runner`."""

    deliveries: str | None = option(
        None, help="Folder with span-1, span-2, and so on. By default, a phantom is made.", path=True
    )
    output: str = option(help="Folder for all results.", path=True)
    models: str | None = option(None, help="Folder of the models. The default is OUTPUT/models.", path=True)
    baseline: bool = option(
        True,
        help="Compare with the latest blessed network. With --nobaseline, a new line of models begins. Export's gate "
        "stays.",
    )
    cache: bool = option(
        True, help="Reuse the results of former runs. With --nocache, unfinished work also starts again."
    )
    wait_minutes: float = option(0.0, help="Minutes to wait for another run with the same output.", low=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KubeflowConfig(Deliveries, Publication, Trainers):
    """Options of `pipelines.kubeflow_v2_runner`. The containers do not need the study's flagfile."""

    deliveries: str = option(help="Folder with span-1, span-2, and so on, as the containers see it.")
    pipeline_root: str = option(help="Folder of the artefacts, e.g. gs://BUCKET/root.")
    models: str = option(help="Folder of the models that are served, as the containers see it.")
    work: str = option(help="Folder of unfinished work, as the containers see it.")
    schema_in_containers: str = option(
        help="The file of --schema as the containers see it, e.g. on a volume, or gs://BUCKET/schema.pbtxt."
    )
    image: str = option(help="Container image of every component.")
    output: str = option("pipeline.yaml", help="File to write.", path=True)
    name: str = option("semicml", help="Name of the pipeline: a-z, 0-9 and -.")

    def contradictions(self) -> Iterator[Problem]:
        """Problems of options that are valid alone, but not together."""
        yield from super().contradictions()
        if not self.output.endswith((".yaml", ".yml")):
            yield f"expected an --output that ends in .yaml, got '{self.output}'", ""
