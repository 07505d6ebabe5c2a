"""DeliveryCheck: stops the pipeline if a delivery differs from the earlier ones, and names the case.

The output `report` is a DeliveryReport: `delivery.json` and the property `passed`. The report of a refused delivery is
written beside the outputs, because TFX removes the outputs of a failed component.
"""

from __future__ import annotations

import contextlib
import json
import pathlib

from tfx import types
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts

from pipelines import curated_schema, delivery_report
from pipelines.components import folders
from pipelines.components.artefact_types import DeliveryReport
from pipelines.components.case_example_gen import read_cards
from semicml_tf.errors import UserError

FAIL, WARN = "fail", "warn"


class DeliveryCheckSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of DeliveryCheck."""

    PARAMETERS = {"on_anomaly": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "cards": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies, optional=True),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=DeliveryReport)}


class Executor(base_executor.BaseExecutor):
    """Calls `delivery_report.examine`."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:
        """Writes the report.

        Raises:
            UserError: there are anomalies, and `on_anomaly` is ``fail``.
        """
        cards = artifact_utils.get_single_instance(input_dict["cards"])
        output = artifact_utils.get_single_instance(output_dict["report"])
        with contextlib.ExitStack() as opened:
            of_cases, of_schema = (
                opened.enter_context(folders.read(artifact_utils.get_single_instance(input_dict[key])))
                for key in ("cards", "schema")
            )
            validator = None
            if input_dict.get("anomalies"):
                anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
                validator = _read_anomalies(opened.enter_context(folders.read(anomalies)), anomalies.split_names)
            (schema_file,) = of_schema.iterdir()
            report = delivery_report.examine(
                read_cards(of_cases), curated_schema.read(schema_file), span=cards.span, validator=validator
            )
        fails = not report.passed and exec_properties["on_anomaly"] == FAIL
        path = f"{output.uri}.refused.json" if fails else f"{output.uri}/{delivery_report.FILE_NAME}"
        with fileio.open(path, "w") as stream:
            stream.write(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n")
        if fails:
            report.refuse(path)
        print(report.summary() if report.passed else f"warning: {report.summary()}", flush=True)
        output.set_int_custom_property("anomalies", len(report.anomalies))
        # Kubeflow supports only custom properties for other types.
        output.set_int_custom_property("span", report.span)
        output.set_int_custom_property("passed", int(report.passed))


def _read_anomalies(folder: pathlib.Path, split_names: str) -> dict:
    """Reads the anomalies that ExampleValidator wrote, by partition."""
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    return {
        name: anomalies_pb2.Anomalies.FromString((folder / f"Split-{name}" / DEFAULT_FILE_NAME).read_bytes())
        for name in artifact_utils.decode_split_names(split_names)
    }


class DeliveryCheck(base_component.BaseComponent):
    """Compares the newest delivery with the curated schema and with the deliveries before it; see docs/pipeline.md."""

    SPEC_CLASS = DeliveryCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        cards: types.BaseChannel,
        schema: types.BaseChannel,
        anomalies: types.BaseChannel | None = None,
        *,
        on_anomaly: str = FAIL,
    ):
        """Makes the component.

        Args:
            cards: of CaseExampleGen.
            schema: the curated schema.
            anomalies: of ExampleValidator, which are also reported.
            on_anomaly: ``fail`` stops the pipeline, ``warn`` prints a warning.

        Raises:
            UserError: `on_anomaly` is neither.
        """
        if on_anomaly not in (FAIL, WARN):
            raise UserError(f"expected on_anomaly '{FAIL}' or '{WARN}', got '{on_anomaly}'")
        spec = DeliveryCheckSpec(
            cards=cards,
            schema=schema,
            anomalies=anomalies,
            on_anomaly=on_anomaly,
            report=types.Channel(type=DeliveryReport),
        )
        super().__init__(spec=spec)
