"""Memory growth of the embedded server under load with valid and invalid requests.

    python -m benchmarks.serving_soak                          # 10 minutes
    python -m benchmarks.serving_soak --seconds=60 --callers=2

Each caller repeats these steps: it connects, sends batches of several sizes to two signatures, and sends all invalid
requests of the conformance suite. It also cancels a call, and sends a message above the server's limit. Each other
outcome than the expected one is an error. Memory is the resident memory of the server's process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

import numpy as np

from benchmarks import serving_setup
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, quiet_import

# A small network, because a leak would grow with the number of calls.
CASE = serving_setup.Case((16, 32, 32), 32, 4)
BATCHES = (1, 3, 16, 64)
MESSAGE_MIB = 1
# The first part of a run does not count: threads start, each with its own heap, and graphs are compiled.
WARM_UP_SHARE = 1 / 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """A measurement during the load.

    Attributes:
        seconds: time since the load began.
        resident_mb: memory of the server's process in MiB.
        files: open files of the process, connections included.
        requests: number of requests so far with the expected outcome.
        errors: number of other outcomes so far.
    """

    seconds: float
    resident_mb: float
    files: int
    requests: int
    errors: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoakConfig:
    """Options of `benchmarks.serving_soak`."""

    seconds: float = option(600.0, "Duration of the load in seconds.", low=3)
    callers: int = option(4, "Simultaneous clients.", low=1)
    most_growth_mb: float = option(16.0, "The exit code is 1 if memory grows by more than this.")
    output: str | None = option(None, "JSON file for the samples.", path=True)

    def __post_init__(self):
        check(self)


CONFIG = SoakConfig


class Callers:
    """Clients that call a server while the context is open, and count `requests` and `errors`."""

    def __init__(self, address: str, count: int):
        self.address = address
        self.requests, self.errors = 0, []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, seed: int) -> None:
        import grpc

        from semicml_tf.serving.client.channel import open_channel
        from semicml_tf.serving.conformance.server import Failed, Server

        while not self._over.is_set():
            with open_channel(self.address) as channel:
                server = Server(channel, CASE.model, 60.0)
                try:
                    self._once(server, seed)
                except (Failed, grpc.RpcError) as error:
                    with self._lock:
                        self.errors.append(str(error).replace("\n", " ")[:300])

    def _once(self, server, seed: int) -> None:
        from semicml_tf.artefact.manifest import DEFAULT, PROBABILITIES
        from semicml_tf.serving.conformance.refusals import refusals
        from semicml_tf.serving.conformance.server import require_code

        def count(requests: int) -> None:
            with self._lock:
                self.requests += requests

        for batch in BATCHES:
            inputs = server.inputs(batch, seed)
            for signature in (PROBABILITIES, DEFAULT):
                server.outputs(inputs, signature)
                count(1)
            given_up = server.begin(server.request(inputs))
            time.sleep(0.001)
            given_up.cancel()
            count(1)
        name, one = next(iter(server.inputs(1).items()))
        large = server.request({name: np.zeros((1 + MESSAGE_MIB * 2**20 // one.nbytes, *one.shape[1:]), one.dtype)})
        require_code("RESOURCE_EXHAUSTED", lambda: server.predict(large))
        count(1)
        for _, refused in refusals(server):
            refused()
            count(2)
            if self._over.is_set():
                return


def soak(seconds: float, callers: int) -> tuple[list[Sample], list[str]]:
    """Loads a server for `seconds`; returns one sample per second, and the errors.

    Raises:
        UserError: the server ended, or cannot be started.
    """
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        models, log = pathlib.Path(folder, "models"), pathlib.Path(folder, "server.log")
        serving_setup.published(CASE, models)
        limit = f"--max_message_mib={MESSAGE_MIB}"
        process, address = stack.enter_context(serving_setup.serving(models, limit, log=log))
        load = stack.enter_context(Callers(address, callers))
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            if process.poll() is not None:
                raise UserError(f"the server ended with {process.returncode}: {log.read_text()[-500:]}")
            files = sum(1 for _ in pathlib.Path(f"/proc/{process.pid}/fd").iterdir())
            held = serving_setup.resident_mb(process.pid)
            samples.append(Sample(passed, held, files, load.requests, len(load.errors)))
            time.sleep(min(1.0, seconds / 10))
        if "Traceback" in (said := log.read_text()):
            load.errors.append(said[said.index("Traceback") :][:300])
    return samples, load.errors


def growth(samples: Sequence[Sample]) -> float:
    """Growth of memory in MiB after the warm-up: a straight line through the medians of two halves.

    Medians are robust to large messages and garbage collections, which show in single samples.
    """
    judged = [one for one in samples if one.seconds >= samples[-1].seconds * WARM_UP_SHARE]
    middle = len(judged) // 2
    before, after = (statistics.median(one.resident_mb for one in half) for half in (judged[:middle], judged[middle:]))
    # The middles of the two halves are half of the time apart.
    return 2 * (after - before)


def table(samples: Sequence[Sample]) -> str:
    """A Markdown table with one row per minute."""
    rows = ["| minute | resident MB | open files | requests | errors |", "|---|---|---|---|---|"]
    minutes: dict[int, list[Sample]] = {}
    for one in samples:
        minutes.setdefault(int(one.seconds // 60) + 1, []).append(one)
    for minute, found in minutes.items():
        held, files = (statistics.median(getattr(one, name) for one in found) for name in ("resident_mb", "files"))
        rows.append(f"| {minute} | {held:.0f} | {files:.0f} | {found[-1].requests} | {found[-1].errors} |")
    return "\n".join(rows)


def main(config: SoakConfig) -> None:
    """Measures and prints a Markdown table."""
    quiet_import.tensorflow()
    samples, errors = soak(config.seconds, config.callers)
    grown = growth(samples)
    print(table(samples))
    print(f"\nafter the first third, memory grew by {grown:.1f} MB; {len(errors)} errors")
    for error in errors[:10]:
        print(f"  {error}")
    if config.output:
        seen = [dataclasses.asdict(one) for one in samples]
        atomic_files.write_json(config.output, {"growth_mb": grown, "errors": errors, "samples": seen})
    if errors or grown > config.most_growth_mb:
        sys.exit(1)


if __name__ == "__main__":
    commandline.run("benchmarks.serving_soak")
