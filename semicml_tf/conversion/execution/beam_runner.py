"""Runs the work of a conversion as Apache Beam pipelines. Beam is in the extra `beam`."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence

from semicml_tf.conversion.execution import tasks
from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.errors import UserError, first_line
from semicml_tf.system import quiet_import

# Runners whose short name Beam does not know.
_NAMES = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
# How the text of Beam's exception quotes a `UserError` that a worker raised.
_MISTAKE = re.compile(rf"{re.escape(UserError.__module__)}\.{UserError.__qualname__}: (.*?)(?: \[while running|\n|$)")


class BeamRunner:
    """Runs jobs on a runner of Apache Beam. A context manager, like `LocalRunner`.

    Args:
        name: Beam's name of the runner, e.g. ``FlinkRunner``.
        flags: flags that are passed to Beam unchanged.
    """

    def __init__(self, name: str, flags: tuple[str, ...] = ()):
        self._name, self._flags = name, flags

    def __enter__(self) -> BeamRunner:
        return self

    def __exit__(self, *_) -> None:
        pass

    def look(self, jobs: Sequence[CaseJob]) -> None:
        """Examines every case."""
        if not jobs:
            return
        self.run(
            lambda beam, pipeline: (
                pipeline
                | "cases" >> beam.Create(list(jobs), reshuffle=False)
                | "spread" >> beam.Reshuffle()
                | "look" >> beam.Map(tasks.look)
            )
        )

    def make(self, jobs: Sequence[CaseJob], sizes: dict[str, int]) -> None:
        """Makes every record, then every shard; see `LocalRunner.make`."""
        self.run(
            lambda beam, pipeline: (
                pipeline
                | "cases" >> beam.Create(list(jobs), reshuffle=False)
                | "spread" >> beam.Reshuffle()
                | "make" >> beam.Filter(tasks.make)
                | "shards" >> beam.Map(_with_shard)
                | "by shard" >> beam.GroupByKey()
                | "assemble" >> beam.Map(tasks.assemble, sizes)
            )
        )

    def run(self, build: Callable) -> None:
        """Runs a pipeline to its end.

        Args:
            build: called with the module `apache_beam` and the pipeline; adds the steps.

        Raises:
            UserError: Beam is not installed; the runner is unknown, refuses its flags or cannot be reached; a worker
                cannot write its results.
        """
        try:
            # Hides what Beam and its workers log when they start and end.
            with quiet_import.stderr_held_back():
                try:
                    import apache_beam
                    from apache_beam.options.pipeline_options import PipelineOptions
                except ModuleNotFoundError as error:
                    raise self._not_installed("beam", "Apache Beam") from error
                logging.getLogger("apache_beam").setLevel(logging.ERROR)
                options = PipelineOptions([f"--runner={_NAMES.get(self._name, self._name)}", *self._all_flags()])
                with _mistakes_unwrapped(), apache_beam.Pipeline(options=options) as pipeline:
                    build(apache_beam, pipeline)
        except (UserError, KeyboardInterrupt):
            # Beam's threads would log that their connections are lost.
            for name in ("apache_beam", "grpc"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            raise
        except (Exception, SystemExit) as error:  # argparse, inside Beam, leaves by SystemExit
            if self._name == "DaskRunner" and isinstance(error, ImportError):
                raise self._not_installed("dask", "dask.distributed") from error
            text = first_line(error).strip()[:300]
            raise UserError(
                f"the Beam runner {self._name} failed ({type(error).__name__}: {text})",
                remedy="Check --runner and --beam_flag, and that every worker can reach the input, the output's folder "
                "and this package",
            ) from error

    def _not_installed(self, extra: str, what: str) -> UserError:
        if self._name == "DaskRunner":
            extra = "dask"  # which includes Beam
        return UserError(
            f"--runner={self._name} needs {what}, which is not installed",
            remedy=f'pip install "semicml-tf[{extra}]", or use --runner=local',
        )

    def _all_flags(self) -> list[str]:
        given = {flag.split("=")[0] for flag in self._flags}
        defaults = ["--default_sdk_harness_log_level=ERROR"]
        if self._name == "DaskRunner" and not given & {"--dask_npartitions", "--dask_partition_size"}:
            # Dask's default puts up to 128 elements into one task: few cases would all go to one worker.
            defaults.append("--dask_partition_size=1")
        return [flag for flag in defaults if flag.split("=")[0] not in given] + list(self._flags)


def _with_shard(job: CaseJob) -> tuple[str, CaseJob]:
    return job.shard, job


@contextlib.contextmanager
def _mistakes_unwrapped() -> Iterator[None]:
    """Raises a worker's `UserError`, e.g. of a full disk, without the text that Beam puts around it."""
    try:
        yield
    except Exception as error:
        match = _MISTAKE.search(f"{type(error).__module__}.{type(error).__qualname__}: {error}")
        if not match:
            raise
        raise UserError(match[1].removesuffix(".")) from error
