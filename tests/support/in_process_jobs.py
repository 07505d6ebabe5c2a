"""Runs the jobs of an experiment in this process: a child process with TensorFlow takes seconds to start."""

import contextlib

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.experiments import workers
from semicml_tf.experiments.workers import Outcome
from tests.support import quick_runs


@contextlib.contextmanager
def in_process(stop_after=None):
    """Jobs run here, one after another, and train shallow networks. Yields the names of the jobs that ran.

    Args:
        stop_after: number of jobs after which the experiment is interrupted, as by Ctrl-C.
    """
    done = []

    def run(self, jobs):
        failed = set()
        for job in jobs:
            if job.after in failed:
                failed.add(job.name)
                yield Outcome(job, "not begun", begun=False)
                continue
            if len(done) == stop_after:
                raise KeyboardInterrupt
            done.append(job.name)
            try:
                for _, module, *arguments in job.commands:
                    commandline.call(module, arguments)
            except UserError as error:
                failed.add(job.name)
                yield Outcome(job, error.line)
                continue
            yield Outcome(job)

    with pytest.MonkeyPatch.context() as patch, quick_runs.shallow():
        patch.setattr(workers.Workers, "run", run)
        yield done
