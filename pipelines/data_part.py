"""The pipeline's components up to the check of a delivery; training begins behind it."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.components import SchemaGen, StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent

from pipelines.components.case_example_gen import CaseExampleGen


def data_components(
    deliveries: str,
    study: str | Sequence[str],
    *,
    span: int | None = None,
    beam_pipeline_args: Sequence[str] | None = None,
) -> dict[str, BaseComponent]:
    """The components by name, in the order in which they run.

    Args:
        deliveries: folder with `span-1`, `span-2`, ...
        study: a flagfile, or flags of `semicml_tf.convert`.
        span: the last delivery to read; None = the newest.
        beam_pipeline_args: for Beam, of the components that use it; None = the pipeline's.
    """
    example_gen = CaseExampleGen(deliveries, study, span=span)
    statistics_gen = StatisticsGen(examples=example_gen.outputs["cards"])
    schema_gen = SchemaGen(statistics=statistics_gen.outputs["statistics"], infer_feature_shape=True)
    made = {"example_gen": example_gen, "statistics_gen": statistics_gen, "schema_gen": schema_gen}
    if beam_pipeline_args is not None:
        for component in (example_gen, statistics_gen):
            component.with_beam_pipeline_args(list(beam_pipeline_args))
    return made
