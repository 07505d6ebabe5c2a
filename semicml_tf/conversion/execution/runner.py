"""The Apache Beam runner that conversion's work runs on, and what is told while it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator

import tqdm

from semicml_tf.conversion.execution import worker_deaths, worker_stop
from semicml_tf.errors import UserError
from semicml_tf.system import quiet_import

LOCAL = "DirectRunner"
# How a runner's name is told to Beam where Beam does not know the short one.
_NAMES = {"DaskRunner": "apache_beam.runners.dask.dask_runner.DaskRunner"}
# Environment variable that tells a worker on this machine whose it is; see `worker_watch`.
CONVERSION = "SEMICML_TF_CONVERSION"
# How an exception's text tells of one that a worker raised.
_MISTAKE = re.compile(rf"{re.escape(UserError.__module__)}\.{UserError.__qualname__}: (.*?)(?: \[while running|\n|$)")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the work runs.

    Attributes:
        runner: Beam's name of it, e.g. ``DirectRunner`` (this machine) or ``FlinkRunner``.
        workers: processes on this machine; other runners have flags of their own for it.
        flags: Beam's own, passed on as they are.
    """

    runner: str = LOCAL
    workers: int = 1
    flags: tuple[str, ...] = ()

    def is_this_process(self, jobs: int) -> bool:
        """Whether the work is done without Beam: one worker on this machine, and no flag for Beam."""
        return self.runner == LOCAL and not self.flags and min(self.workers, jobs) <= 1

    def run(self, build: Callable, *, jobs: int) -> None:
        """Runs a pipeline to its end.

        Args:
            build: called with the module `apache_beam` and the pipeline, adds what is to be done.
            jobs: number of cases; more processes than that are not started.

        Raises:
            UserError: the runner is unknown, refuses its flags or cannot be reached; a worker died, or could not leave
                its results.
        """
        try:
            # Beam and its workers tell of their coming and going.
            with quiet_import.stderr_held_back():
                import apache_beam
                from apache_beam.options.pipeline_options import PipelineOptions

                logging.getLogger("apache_beam").setLevel(logging.ERROR)
                options = PipelineOptions([f"--runner={_NAMES.get(self.runner, self.runner)}", *self._flags(jobs)])
                with (
                    worker_stop.with_us() if self.runner == LOCAL else contextlib.nullcontext(),
                    _mistakes_as_they_are(),
                    worker_deaths.told(),
                    apache_beam.Pipeline(options=options) as pipeline,
                ):
                    build(apache_beam, pipeline)
        except (UserError, KeyboardInterrupt):
            # Beam's threads log, beside what raised this, that they lost each other.
            for name in ("apache_beam", "grpc"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            raise
        except (Exception, SystemExit) as error:  # argparse, inside Beam, leaves by SystemExit
            if self.runner == LOCAL and not self.flags:
                raise
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"the Beam runner {self.runner} failed ({type(error).__name__}: {first[:300]})",
                remedy="Check --runner and --beam_flag, and that every worker sees the input, the output's folder and "
                "this package",
            ) from error

    def _flags(self, jobs: int) -> list[str]:
        given = {flag.split("=")[0] for flag in self.flags}
        own = ["--default_sdk_harness_log_level=ERROR"]
        if self.runner == LOCAL:
            workers = max(min(self.workers, jobs), 1)
            mode = "multi_processing" if workers > 1 else "in_memory"
            own += [f"--direct_num_workers={workers}", f"--direct_running_mode={mode}"]
            if workers > 1:
                os.environ[CONVERSION] = str(os.getpid())
                own.append("--beam_plugin=semicml_tf.conversion.execution.worker_watch")
        if self.runner == "DaskRunner" and not given & {"--dask_npartitions", "--dask_partition_size"}:
            # Dask's default puts up to 128 elements into one task: few cases would all go to one worker.
            own.append("--dask_partition_size=1")
        return [flag for flag in own if flag.split("=")[0] not in given] + list(self.flags)


@contextlib.contextmanager
def _mistakes_as_they_are() -> Iterator[None]:
    """Raises a worker's `UserError` (a disk that is full) as it was, without what Beam makes of it."""
    try:
        yield
    except Exception as error:
        found = _MISTAKE.search(f"{type(error).__module__}.{type(error).__qualname__}: {error}")
        if not found:
            raise
        raise UserError(found[1].removesuffix(".")) from error


@contextlib.contextmanager
def progress(what: str, total: int, done: Callable[[], int]) -> Iterator[None]:
    """A progress bar over what other processes do.

    Args:
        what: is being done.
        total: cases.
        done: tells how many are.
    """
    stop = threading.Event()
    # A stream of its own, since stderr is held back meanwhile. Hidden where nobody watches (disable=None).
    with (
        os.fdopen(os.dup(2), "w") as stream,
        tqdm.tqdm(total=total, desc=what, unit="case", leave=False, disable=None, file=stream) as bar,
    ):

        def watch():
            while not stop.wait(0.3):
                bar.update(min(done(), total) - bar.n)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
