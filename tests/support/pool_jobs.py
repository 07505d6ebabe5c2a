"""Jobs for the worker processes of a pool, which import this file."""

import os
import signal
import time


def number_of_process(job):
    """The process that does the job."""
    return os.getpid()


def killed_by_the_system(job):
    """The job "bad" ends its process as the kernel does when memory runs out; others take long."""
    if job == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def raises(job):
    """A fault of the program."""
    raise LookupError(job)


def waits(path):
    """Writes its process to a file and never ends."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)
