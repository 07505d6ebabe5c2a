"""CaseExampleGen: converts deliveries of volumes (spans) to a dataset with partitions (splits).

The output `examples` is the folder of the dataset (`dataset.json`, `*.tfrecord`). The output `cards` has a few scalars
of each case in `Split-PARTITION`, for the components that compute statistics.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_component, base_beam_executor, base_driver, executor_spec
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto import example_gen_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts

import semicml_tf
from pipelines.components import folders
from pipelines.metadata_store import producer
from semicml_tf import commandline
from semicml_tf.conversion.execution import work_folder as works
from semicml_tf.conversion.splitting import resolve_deliveries
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.errors import UserError
from semicml_tf.records import case_cards
from semicml_tf.records.case_record import CONTRACT_VERSION, PARTITIONS
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import atomic_files, json_files

CONVERT = "semicml_tf.convert"
SPAN, FINGERPRINT, SPLIT = "span", "input_fingerprint", "split"
DATA_HASH = "data_hash"
CARDS_FILE = "cards-00000-of-00001.gz"


class CaseExampleGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of CaseExampleGen. Its driver adds `input_fingerprint` and `split`."""

    PARAMETERS = {
        "deliveries": component_spec.ExecutionParameter(type=str),
        "convert_flags": component_spec.ExecutionParameter(type=str),
        "code_version": component_spec.ExecutionParameter(type=str),
        SPAN: component_spec.ExecutionParameter(type=int, optional=True),
        "case_cache": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {}
    OUTPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "cards": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


def arguments(exec_properties: dict[str, Any], output: str) -> list[str]:
    """The arguments of the converter: flags of the study, input, span and output."""
    flags = json_files.parse(exec_properties["convert_flags"], list[str], what="flags of a conversion")
    result = [*flags, f"--input={exec_properties['deliveries']}"]
    if exec_properties.get(SPAN) is not None:
        result.append(f"--span={exec_properties[SPAN]}")
    return [*result, f"--output={output}"]


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver):
    """Lists the deliveries before TFX looks up the execution in its cache."""

    def __init__(self, metadata_handle):
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info) -> driver_output_pb2.DriverOutput:
        """Adds the span, the fingerprint of the input and the split, which extends the split of the newest dataset."""
        known = dict(execution_info.exec_properties)
        flags = arguments(known, execution_info.output_dict["examples"][0].uri)
        with tempfile.TemporaryDirectory() as folder:
            former = self._former_split(execution_info)
            if former:
                flags.append(_keep_split_flag(former, folder))
            resolved = resolve_deliveries.resolve(commandline.config(CONVERT, flags))
        known |= {
            SPAN: resolved.span,
            FINGERPRINT: resolved.fingerprint,
            SPLIT: json.dumps(resolved.split.to_json(), sort_keys=True),
        }
        result = driver_output_pb2.DriverOutput()
        for name, value in known.items():
            if value is not None:
                data_types_utils.set_metadata_value(result.exec_properties[name], value)
        return result

    def _former_split(self, execution_info) -> str | None:
        """The split with which this component made the dataset of the latest span.

        This is the requested split: skipped bad cases keep their partition.
        """
        name = f"{execution_info.pipeline_info.id}.{execution_info.pipeline_node.node_info.id}"
        with self._mlmd_connection as handle:
            context = handle.store.get_context_by_type_and_name("node", name)
            artefacts = handle.store.get_artifacts_by_context(context.id) if context else []
            datasets = [artefact for artefact in artefacts if DATA_HASH in artefact.custom_properties]
            for dataset in sorted(datasets, key=_span_and_id, reverse=True):
                execution = producer(handle.store, dataset.id)
                if execution and SPLIT in execution.custom_properties:
                    return execution.custom_properties[SPLIT].string_value
        return None


def _span_and_id(artefact) -> tuple[int, int]:
    return artefact.properties["span"].int_value, artefact.id


class Executor(base_beam_executor.BaseBeamExecutor):
    """Runs the converter."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:
        """Converts the deliveries up to the span and writes the cards of their cases.

        Raises:
            UserError: a case is refused.
        """
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        cards = artifact_utils.get_single_instance(output_dict["cards"])
        with folders.written(examples) as dataset, folders.written(cards) as of_cases:
            # If the dataset is copied to an object store, the folder beside it is temporary.
            home = dataset.parent if folders.is_remote(examples.uri) else dataset.parent.parent
            cache = exec_properties.get("case_cache") or home / "case_cache"
            self._convert(dataset, cache, exec_properties)
            info = DatasetInfo.load(dataset)
            all_cards = case_cards.load(dataset)
            names_of_cards = write_cards(of_cases, all_cards)
        span = exec_properties.get(SPAN)
        if span is None:  # a runner without drivers
            span = max(card[case_cards.SPAN] for card in all_cards)
        for artifact, names in (
            (examples, [name for name in PARTITIONS if info.partitions[name]]),
            (cards, names_of_cards),
        ):
            artifact.split_names = artifact_utils.encode_split_names(names)
            artifact.span, artifact.version = span, 0
        examples.set_string_custom_property(DATA_HASH, info.data_hash)
        cards.set_string_custom_property("of_data_hash", info.data_hash)
        examples_utils.set_payload_format(cards, example_gen_pb2.FORMAT_TF_EXAMPLE)

    def _convert(self, dataset: pathlib.Path, cache: str | os.PathLike, exec_properties: dict[str, Any]) -> None:
        flags = arguments(exec_properties, str(dataset))
        if exec_properties.get(SPLIT):
            flags.append(_keep_split_flag(exec_properties[SPLIT], self._get_tmp_dir()))
        _remove_unfinished_work(dataset.parent)
        try:
            commandline.call(CONVERT, [*flags, f"--case_cache={cache}", *beam_flags(self._beam_pipeline_args)])
        finally:
            _remove_unfinished_work(dataset.parent)


def _keep_split_flag(split: str, folder: str) -> str:
    """Writes a split to `folder`. Returns the flag with which the converter keeps it."""
    path = pathlib.Path(folder) / splits.FILE_NAME
    atomic_files.write_text(path, split)
    return f"--keep_split={path}"


def write_cards(folder: str | os.PathLike, cards: Sequence[case_cards.Card]) -> list[str]:
    """Writes the cards in `Split-PARTITION` folders; returns the partitions with cards."""
    names = [name for name in PARTITIONS if any(card[case_cards.PARTITION] == name for card in cards)]
    for name in names:
        of_split = [card for card in cards if card[case_cards.PARTITION] == name]
        case_cards.write_split(pathlib.Path(folder) / f"Split-{name}" / CARDS_FILE, of_split)
    return names


def read_cards(folder: str | os.PathLike) -> list[dict]:
    """Reads the cards in a folder of `write_cards`."""
    files = sorted(pathlib.Path(folder).glob(f"Split-*/{CARDS_FILE}"))
    return [card for path in files for card in case_cards.read_split(path)]


def beam_flags(beam_pipeline_args: Sequence[str] | None) -> list[str]:
    """The flags of the converter for the Beam arguments of a pipeline.

    Without a runner, or with the DirectRunner, the converter uses its own worker processes instead of Beam.
    """
    runners = [arg for arg in beam_pipeline_args or () if arg.startswith("--runner=")]
    others = [arg for arg in beam_pipeline_args or () if arg not in runners]
    if runners[-1:] in ([], ["--runner=DirectRunner"]):
        counts = [arg.partition("=")[2] for arg in others if arg.startswith("--direct_num_workers=")]
        return [f"--workers={count}" for count in counts[-1:]]
    return runners[-1:] + [f"--beam_flag={arg}" for arg in others]


def _remove_unfinished_work(folder: pathlib.Path) -> None:
    """Removes the work folders of failed conversions beside their outputs. Finished cases are in the cache."""
    for path in folder.glob(".*.work"):
        # A running conversion has locked its folder.
        with contextlib.suppress(UserError), works.opened(folder / path.name[1 : -len(".work")]) as work:
            works.discard(work)


class CaseExampleGen(base_beam_component.BaseBeamComponent):
    """Converts all deliveries up to a span; see docs/pipeline.md."""

    SPEC_CLASS = CaseExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        deliveries: str,
        study: str | Sequence[str],
        *,
        span: int | None = None,
        case_cache: str | None = None,
    ):
        """Makes the component.

        Args:
            deliveries: folder with `span-1`, `span-2`, ...
            study: a flagfile, or flags. Flags that are unknown to conversion must belong to another command.
            span: the last delivery to read; None for the newest when the pipeline runs.
            case_cache: folder of finished cases; None for a folder beside the outputs.

        Raises:
            UserError: the flagfile cannot be read.
        """
        spec = CaseExampleGenSpec(
            deliveries=os.path.abspath(deliveries),
            convert_flags=json.dumps(convert_flags(study)),
            code_version=f"{semicml_tf.__version__}, contract {CONTRACT_VERSION}, cards {case_cards.VERSION}",
            span=span,
            case_cache=case_cache,
            examples=types.Channel(type=standard_artifacts.Examples),
            cards=types.Channel(type=standard_artifacts.Examples),
        )
        super().__init__(spec=spec)


def convert_flags(study: str | Sequence[str]) -> list[str]:
    """The flags of a study that conversion knows. A change of other flags, e.g. for training, makes no new dataset.

    Raises:
        UserError: a flag is unknown, or set by the pipeline itself.
    """
    given = [f"--flagfile={study}"] if isinstance(study, (str, os.PathLike)) else list(study)
    values, _ = commandline.parse(CONVERT, given)
    present = [values[name] for name in values if values[name].present]
    for flag in present:
        if flag.name in ("input", "output", "span", "split", "case_cache", "runner", "beam_flag"):
            raise UserError(f"--{flag.name} is set by the pipeline", remedy="Remove it from the flags of the study")
    return [line for flag in present for line in flag.serialize().splitlines()]
