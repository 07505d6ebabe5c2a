"""The components of the pipeline before training, up to the check of a delivery."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Sequence

from tfx.components import ExampleValidator, SchemaGen, StatisticsGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent

from pipelines.components.case_example_gen import CaseExampleGen
from pipelines.components.delivery_check import FAIL, DeliveryCheck
from semicml_tf.errors import UserError

# The schema of the phantom of configs/demo.flags. For other studies, see pipelines.curated_schema.
PHANTOM_SCHEMA = pathlib.Path(__file__).with_name("schema") / "schema.pbtxt"


def data_components(
    deliveries: str,
    study: str | Sequence[str],
    *,
    span: int | None = None,
    schema: str | os.PathLike = PHANTOM_SCHEMA,
    schema_in_containers: str | None = None,
    beam_pipeline_args: Sequence[str] | None = None,
    on_anomaly: str = FAIL,
    case_cache: str | None = None,
) -> dict[str, BaseComponent]:
    """The components by name, in the order in which they run.

    `schema_gen` infers a draft from the data. The other components use the curated schema, `import_schema_gen`.

    Args:
        deliveries: folder with `span-1`, `span-2`, ...
        study: a flagfile, or flags of `semicml_tf.convert`.
        span: the last delivery to read; None for the newest.
        schema: file of the curated schema.
        schema_in_containers: path or URL of the schema for the components, if they run in containers.
        beam_pipeline_args: for Beam, of the components that use it; None for the arguments of the pipeline.
        on_anomaly: ``fail`` stops the pipeline at a delivery with anomalies, ``warn`` prints a warning.
        case_cache: folder of finished cases; None for a folder beside the outputs of CaseExampleGen.

    Raises:
        UserError: the flagfile or the schema cannot be read.
    """
    example_gen = CaseExampleGen(deliveries, study, span=span, case_cache=case_cache)
    cards = example_gen.outputs["cards"]
    statistics_gen = StatisticsGen(examples=cards)
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = SchemaGen(statistics=statistics, infer_feature_shape=False)
    import_schema_gen = _imported(pathlib.Path(schema), schema_in_containers)
    curated = import_schema_gen.outputs["schema"]
    example_validator = ExampleValidator(statistics=statistics, schema=curated)
    delivery_check = DeliveryCheck(cards, curated, example_validator.outputs["anomalies"], on_anomaly=on_anomaly)
    if beam_pipeline_args is not None:
        for component in (example_gen, statistics_gen):
            component.with_beam_pipeline_args(list(beam_pipeline_args))
    return {
        "example_gen": example_gen,
        "statistics_gen": statistics_gen,
        "schema_gen": schema_gen,
        "import_schema_gen": import_schema_gen,
        "example_validator": example_validator,
        "delivery_check": delivery_check,
    }


def _imported(path: pathlib.Path, path_in_containers: str | None) -> ImportSchemaGen:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"the curated schema cannot be read ({error.strerror})",
            path=path,
            remedy="Make one by python -m pipelines.curated_schema",
        ) from error
    component = ImportSchemaGen(schema_file=path_in_containers or str(path.absolute()))
    # Otherwise TFX would use the cached import of the same path after an edit of the file.
    component.spec.exec_properties["sha256"] = digest
    return component
