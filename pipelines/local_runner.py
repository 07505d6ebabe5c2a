"""Runs the whole pipeline on this machine, from deliveries of cases to a published network per modality.

    python -m pipelines.local_runner --study=configs/demo.flags --output=pipeline_output
    python -m pipelines.local_runner --study=STUDY.flags --deliveries=DATA --output=OUTPUT

Needs the environment of requirements/tfx.lock. `make pipeline` installs it and runs the first line. Without
--deliveries, a phantom is made. The same line reuses unchanged results from the cache, and resumes an interrupted run.
OUTPUT gets metadata.sqlite, root (all artefacts), models (the served models), run.json and pipeline.log.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator

from absl import logging as absl_logging

from pipelines import metadata_store
from pipelines.config import KubeflowConfig, LocalRunnerConfig
from semicml_tf import commandline
from semicml_tf.errors import UserError, first_line
from semicml_tf.system import atomic_files, locks, quiet_import

CONFIG = LocalRunnerConfig
AFTER_INTERRUPT = "The same line resumes the run."


def data_of(config: LocalRunnerConfig | KubeflowConfig, deliveries: str, schema_in_containers: str | None = None):
    """The components of the data part, from the options of a runner; see `data_part.data_components`."""
    from pipelines.data_part import data_components

    schema = {"schema": config.schema} if config.schema else {}
    return data_components(
        deliveries,
        config.study,
        span=config.span,
        on_anomaly=config.on_anomaly,
        schema_in_containers=schema_in_containers,
        **schema,
    )


def settings_of(config: LocalRunnerConfig | KubeflowConfig, *, compare_with_blessed: bool):
    """`semicml_pipeline.Settings` and the modalities, from the options of a runner.

    Raises:
        UserError: an option and the study contradict each other.
    """
    from pipelines.semicml_pipeline import Settings

    flagfile = [f"--flagfile={config.study}"]
    study_epochs = commandline.options("semicml_tf.train", flagfile)["epochs"]
    study_modalities = commandline.options("semicml_tf.convert", flagfile)["modalities"]
    epochs = [config.semi_cml_epochs, config.prel_epochs]
    if None in epochs:
        if len(study_epochs) != 2:
            raise UserError(
                f"expected two numbers in the study's --epochs, got {','.join(map(str, study_epochs))}",
                path=config.study,
                remedy="Pass --semi_cml_epochs and --prel_epochs",
            )
        epochs = [given or default for given, default in zip(epochs, study_epochs)]
    settings = Settings.of_study(
        config.study,
        semi_cml_epochs=epochs[0],
        prel_epochs=epochs[1],
        train_flags=config.train_flag,
        evaluate_flags=config.evaluate_flag,
        bars=config.bars,
        gate_margin=config.gate_margin,
        keep=config.keep,
        compare_with_blessed=compare_with_blessed,
    )
    if not study_modalities:
        raise UserError("expected --modalities in the study, got none", path=config.study)
    unknown = [name for name in config.modalities if name not in study_modalities]
    if unknown:
        raise UserError(f"expected --modalities among {', '.join(study_modalities)}, got '{unknown[0]}'")
    return settings, config.modalities or study_modalities


class _RunningComponent(logging.Handler):
    """Prints the name of each component in the log of TFX when it starts. `name_now` is the last one."""

    name_now = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Component %s is running.":
            self.name_now = record.args[0]
            print(f"\n== {self.name_now}", flush=True)


def _log_to(path: pathlib.Path) -> _RunningComponent:
    """Writes the log of TFX into a file. Returns the handler that knows the running component."""
    log, running = logging.getLogger("absl"), _RunningComponent()
    # Set by absl, not by the logger: TensorFlow changes and restores the verbosity of absl while it saves a model.
    absl_logging.set_verbosity(absl_logging.INFO)
    log.propagate = False
    for former in log.handlers:
        former.close()
    log.handlers = [running, logging.FileHandler(path, mode="w")]
    return running


def _phantom(folder: pathlib.Path, study: str) -> None:
    if not (folder / "span-1").exists():
        commandline.call("semicml_tf.phantom", [f"--flagfile={study}", f"--output={folder / 'span-1'}"])


@contextlib.contextmanager
def locked(metadata: pathlib.Path, wait_minutes: float = 0.0) -> Iterator[None]:
    """Locks a metadata store. The system releases the lock when the process ends, even if it is killed.

    Args:
        metadata: the SQLite file. The lock is ``.NAME.lock`` beside it.
        wait_minutes: time to wait for another run.

    Raises:
        UserError: another run has the lock, or the folder cannot be written to.
    """

    def busy(holder: str) -> UserError:
        return UserError(
            f"another run ({holder}) is using this metadata store",
            path=metadata,
            remedy="Wait until it ends, pass --wait_minutes, or choose another --output",
        )

    def waiting(holder: str) -> None:
        print(f"waiting for the run of {holder}, which is using {metadata}", flush=True)

    lock = metadata.with_name(f".{metadata.name}.lock")
    with locks.held(lock, busy, wait_s=60.0 * wait_minutes, waiting=waiting):
        yield


def main(config: LocalRunnerConfig) -> None:
    """Runs the pipeline and prints the table of its components."""
    # Checked first, so that a run does not fail for this reason after hours.
    output = pathlib.Path(config.output).absolute()
    metadata = output / "metadata.sqlite"
    for folder in (output, models_of(config)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise atomic_files.unwritable(folder, error) from error
    with locked(metadata, config.wait_minutes):
        _run(config, output, metadata)


def models_of(config: LocalRunnerConfig) -> pathlib.Path:
    """The folder of the served models."""
    return pathlib.Path(config.models or pathlib.Path(config.output, "models")).absolute()


def _run(config: LocalRunnerConfig, output: pathlib.Path, metadata: pathlib.Path) -> None:
    deliveries = pathlib.Path(config.deliveries or output / "deliveries")
    if not config.deliveries:
        _phantom(deliveries, config.study)
    try:
        with quiet_import.stderr_held_back():
            from tfx import v1 as tfx
    except ImportError as error:
        raise UserError(
            f"TFX is not installed ({error})", remedy="Use the environment of requirements/tfx.lock; make pipeline does"
        ) from error
    from pipelines.semicml_pipeline import NAME, create_pipeline

    settings, modalities = settings_of(config, compare_with_blessed=config.baseline)
    work = output / "work"
    if not config.cache:
        # Unfinished work and converted cases may be from another version of the code.
        for folder in (work, output / "root" / "CaseExampleGen" / "case_cache"):
            shutil.rmtree(folder, ignore_errors=True)
    pipeline = create_pipeline(
        data_of(config, str(deliveries)),
        modalities,
        settings,
        pipeline_root=str(output / "root"),
        models=str(models_of(config)),
        work_root=str(work),
        metadata_path=str(metadata),
        enable_cache=config.cache,
        beam_pipeline_args=config.beam_flag,
    )
    running = _log_to(output / "pipeline.log")
    before = metadata_store.newest_run_id(metadata_store.open_store(metadata), NAME) if metadata.is_file() else 0
    failure = None
    try:
        tfx.orchestration.LocalDagRunner().run(pipeline)
    except UserError as error:
        failure = error
    except Exception as error:
        logging.getLogger("absl").error(traceback.format_exc())
        failure = UserError(
            f"{type(error).__name__}: {first_line(error)}", remedy=f"The traceback is in {output / 'pipeline.log'}"
        )
    rows = _summary(output, metadata, before, [node.id for node in pipeline.components])
    failed = [row.component for row in rows if row.status == "failed"]
    if failure is not None:
        raise UserError(f"component {running.name_now} failed: {failure.line}")
    if failed:
        raise UserError(f"component {failed[0]} failed", remedy=f"The traceback is in {output / 'pipeline.log'}")
    # No unfinished work is left.
    shutil.rmtree(work, ignore_errors=True)


def _summary(output: pathlib.Path, metadata: pathlib.Path, before: int, components: list[str]):
    from pipelines.semicml_pipeline import NAME

    run, rows = metadata_store.latest_run(metadata_store.open_store(metadata), NAME, before)
    rows = metadata_store.complete_rows(rows, components)
    atomic_files.write_json(output / "run.json", metadata_store.run_json(run, rows))
    sys.stderr.flush()
    print(f"\n{metadata_store.table_text(rows)}\nrun: {output / 'run.json'}", flush=True)
    return rows


if __name__ == "__main__":
    commandline.run("pipelines.local_runner")
