"""Runs the whole pipeline on this machine: deliveries of cases in, a published network a modality out.

    python -m pipelines.local_runner --study=configs/demo.flags --output=pipeline_output
    python -m pipelines.local_runner --study=STUDY.flags --deliveries=DATA --output=OUTPUT

Needs the environment of requirements/tfx.lock; `make pipeline` makes it and runs the first line. Without --deliveries
a phantom is made. The same line again takes from the cache what has not changed, and goes on where a run was cut off.
OUTPUT gets metadata.sqlite, root (all artefacts), models (what is served), run.json and pipeline.log.
"""

from __future__ import annotations

import logging
import pathlib
import shutil
import sys
import tempfile
import traceback

from absl import flags
from absl import logging as absl_logging

from pipelines import metadata_store, run_lock, run_table
from pipelines.acceptance import Bars
from semicml_tf import commandline
from semicml_tf.errors import UserError, first_line
from semicml_tf.system import atomic_files, quiet_import

_BARS = Bars()


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    text = {"flag_values": values}
    flags.DEFINE_string("study", None, "Flagfile of the study, handed to every command.", **text)
    flags.DEFINE_string("deliveries", None, "Folder with span-1, span-2, ...; none: a phantom is made.", **text)
    flags.DEFINE_string("output", None, "Folder for everything that is made.", **text)
    flags.DEFINE_integer("span", None, "The last delivery to read; none: the newest.", lower_bound=0, **text)
    flags.DEFINE_string("models", None, "Folder of the models; OUTPUT/models if not given.", **text)
    flags.DEFINE_integer("semi_cml_epochs", None, "None: the first of the study's --epochs.", lower_bound=1, **text)
    flags.DEFINE_integer("prel_epochs", None, "None: the second of them.", lower_bound=1, **text)
    flags.DEFINE_multi_string("train_flag", [], "One of semicml_tf.train, for both trainers; may be repeated.", **text)
    flags.DEFINE_multi_string("evaluate_flag", [], "One of semicml_tf.evaluate; may be repeated.", **text)
    define_gates(values)
    flags.DEFINE_boolean(
        "baseline",
        True,
        "Compare with the latest blessed network; off, a new line begins, and export's gate stays.",
        **text,
    )
    define_data(values)
    flags.DEFINE_boolean(
        "cache", True, "Take from former runs what has not changed; off, unfinished work is made anew, too.", **text
    )
    flags.DEFINE_multi_string("beam_flag", [], "One of Beam's flags, e.g. --runner=FlinkRunner.", **text)
    flags.DEFINE_float("wait_minutes", 0.0, "How long to wait for another run on the same output.", 0.0, **text)


def define_data(values: flags.FlagValues) -> None:
    """The flags of the data part."""
    text = {"flag_values": values}
    flags.DEFINE_string("schema", None, "Curated schema of the cases' cards; none: that of the phantom.", **text)
    flags.DEFINE_enum("on_anomaly", "fail", ("fail", "warn"), "Deliveries with anomalies: stop, or tell.", **text)


def data_of(values: flags.FlagValues, deliveries: str, schema_in_containers: str | None = None):
    """The data part's components, from a runner's flags; `schema_in_containers` as `data_components` has it."""
    from pipelines.data_part import data_components

    schema = {"schema": values.schema} if values.schema else {}
    return data_components(
        deliveries,
        values.study,
        span=values.span,
        on_anomaly=values.on_anomaly,
        schema_in_containers=schema_in_containers,
        **schema,
    )


def define_gates(values: flags.FlagValues) -> None:
    """The flags of what a network must reach, as `acceptance.Bars` and export's gate have them."""
    text = {"flag_values": values}
    flags.DEFINE_list("modalities", [], "Whose networks to judge and publish; none: all of the study.", **text)
    flags.DEFINE_float("min_dice", _BARS.min_dice, "Least mean DSC on validation patients.", **text)
    flags.DEFINE_float("max_loss", _BARS.max_loss, "By so much it may be below the latest blessed network's.", **text)
    flags.DEFINE_list(
        "size_bounds_ml", [f"{bound:g}" for bound in _BARS.size_bounds_ml], "Slices by the lesions' volume.", **text
    )
    flags.DEFINE_float("min_slice_dice", _BARS.min_slice_dice, "Least mean DSC in each slice.", **text)
    flags.DEFINE_float("max_slice_loss", _BARS.max_slice_loss, "As --max_loss, in each slice.", **text)
    flags.DEFINE_integer("min_slice_patients", _BARS.min_slice_patients, "Slices of fewer are not judged.", **text)
    flags.DEFINE_float("gate_margin", 0.02, "Of export's gate, in validation DSC.", lower_bound=0.0, **text)
    flags.DEFINE_integer("keep", 0, "Old versions to keep beside a new one; 0: all.", lower_bound=0, **text)


def settings_of(values: flags.FlagValues, *, compare_with_blessed: bool):
    """`semicml_pipeline.Settings` and the modalities, from a runner's flags.

    Raises:
        UserError: a flag or the study does not fit.
    """
    from pipelines.semicml_pipeline import Settings

    study, _ = commandline.parse("semicml_tf.train", [f"--flagfile={values.study}"])
    convert, _ = commandline.parse("semicml_tf.convert", [f"--flagfile={values.study}"])
    epochs = [values.semi_cml_epochs, values.prel_epochs]
    if None in epochs:
        if len(study.epochs) != 2:
            raise UserError(
                f"expected two numbers in the study's --epochs, got {','.join(map(str, study.epochs))}",
                path=values.study,
                remedy="Pass --semi_cml_epochs and --prel_epochs",
            )
        epochs = [given or int(own) for given, own in zip(epochs, study.epochs)]
    try:
        bounds = tuple(float(text) for text in values.size_bounds_ml)
    except ValueError as error:
        raise UserError(f"expected numbers in --size_bounds_ml, got {','.join(values.size_bounds_ml)}") from error
    bars = Bars(
        size_bounds_ml=bounds,
        **{
            name: values[name].value
            for name in ("min_dice", "max_loss", "min_slice_dice", "max_slice_loss", "min_slice_patients")
        },
    )
    settings = Settings.of_study(
        values.study,
        semi_cml_epochs=epochs[0],
        prel_epochs=epochs[1],
        train_flags=values.train_flag,
        evaluate_flags=values.evaluate_flag,
        bars=bars,
        gate_margin=values.gate_margin,
        keep=values.keep,
        compare_with_blessed=compare_with_blessed,
    )
    if not convert.modalities:
        raise UserError("expected --modalities in the study, got none", path=values.study)
    unknown = [name for name in values.modalities if name not in convert.modalities]
    if unknown:
        raise UserError(f"expected --modalities among {', '.join(convert.modalities)}, got '{unknown[0]}'")
    return settings, tuple(values.modalities or convert.modalities)


class _Told(logging.Handler):
    """Of TFX's log, what a person wants to see: which component is at work."""

    at_work = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Component %s is running.":
            self.at_work = record.args[0]
            print(f"\n== {self.at_work}", flush=True)


def _log_to(path: pathlib.Path) -> _Told:
    """TFX's log into a file; returns what listens to it."""
    log, told = logging.getLogger("absl"), _Told()
    # By absl, not by the logger: TensorFlow silences absl while it saves a model, and restores what absl knows.
    absl_logging.set_verbosity(absl_logging.INFO)
    log.propagate = False
    for former in log.handlers:
        former.close()
    log.handlers = [told, logging.FileHandler(path, mode="w")]
    return told


def _phantom(folder: pathlib.Path, study: str) -> None:
    if not (folder / "span-1").exists():
        commandline.call("semicml_tf.phantom", [f"--flagfile={study}", f"--output={folder / 'span-1'}"])


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    for name in ("study", "output"):
        if not values[name].value:
            raise UserError(f"expected --{name}, got none", remedy="See --help")
    # Now: a run that fails for this later has lost hours.
    output = pathlib.Path(values.output).absolute()
    metadata = output / "metadata.sqlite"
    for folder in (output, models_of(values)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise atomic_files.unwritable(folder, error) from error
    with run_lock.held(metadata, values.wait_minutes):
        _run(values, output, metadata)


def models_of(values: flags.FlagValues) -> pathlib.Path:
    """The folder of the models that are served."""
    return pathlib.Path(values.models or pathlib.Path(values.output, "models")).absolute()


def _run(values: flags.FlagValues, output: pathlib.Path, metadata: pathlib.Path) -> None:
    deliveries = pathlib.Path(values.deliveries or output / "deliveries")
    if not values.deliveries:
        _phantom(deliveries, values.study)
    try:
        with quiet_import.stderr_held_back():
            from tfx import v1 as tfx
    except ImportError as error:
        raise UserError(
            f"TFX is not there ({error})", remedy="Use the environment of requirements/tfx.lock; make pipeline does"
        ) from error
    from pipelines.semicml_pipeline import NAME, create_pipeline

    settings, modalities = settings_of(values, compare_with_blessed=values.baseline)
    work = output / "work"
    if not values.cache:
        # What was left unfinished, and the cases converted before, may be of another state of the code, too.
        for left in (work, output / "root" / "CaseExampleGen" / "case_cache"):
            shutil.rmtree(left, ignore_errors=True)
    pipeline = create_pipeline(
        data_of(values, str(deliveries)),
        modalities,
        settings,
        pipeline_root=str(output / "root"),
        models=str(models_of(values)),
        work_root=str(work),
        metadata_path=str(metadata),
        enable_cache=values.cache,
        beam_pipeline_args=values.beam_flag,
    )
    told = _log_to(output / "pipeline.log")
    before = metadata_store.newest_run_id(metadata_store.open_store(metadata), NAME) if metadata.is_file() else 0
    failure = None
    try:
        tfx.orchestration.LocalDagRunner().run(pipeline)
    except UserError as error:
        failure = error
    except Exception as error:
        logging.getLogger("absl").error(traceback.format_exc())
        failure = UserError(
            f"{type(error).__name__}: {first_line(error)}", remedy=f"The whole trace is in {output / 'pipeline.log'}"
        )
    rows = _summary(output, metadata, before, [node.id for node in pipeline.components])
    failed = [row.component for row in rows if row.status == "failed"]
    if failure is not None:
        raise UserError(f"component {told.at_work} failed: {failure.line}")
    if failed:
        raise UserError(f"component {failed[0]} failed", remedy=f"Its trace is in {output / 'pipeline.log'}")
    # Nothing waits to go on any more.
    shutil.rmtree(work, ignore_errors=True)


def _summary(output: pathlib.Path, metadata: pathlib.Path, before: int, components: list[str]):
    from pipelines.semicml_pipeline import NAME

    run, rows = metadata_store.latest_run(metadata_store.open_store(metadata), NAME, before)
    rows = run_table.complete(rows, components)
    atomic_files.write_json(output / "run.json", run_table.as_json(run, rows))
    sys.stderr.flush()
    print(f"\n{run_table.text(rows)}\nrun: {output / 'run.json'}", flush=True)
    return rows


if __name__ == "__main__":
    commandline.run("pipelines.local_runner")
