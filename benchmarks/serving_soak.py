"""Whether the embedded server's memory stays flat under load, good requests and bad ones.

    python -m benchmarks.serving_soak                          # 10 minutes
    python -m benchmarks.serving_soak --seconds=60 --callers=2

Each caller, again and again: connects anew, sends batches of several sizes to two signatures, everything that the
conformance suite says must be refused, a call that it gives up under way, and one larger than the server takes. An
outcome other than the right one is an error. Memory is what the system counts as resident in the server's process.
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
from absl import flags

from benchmarks import serving_setup
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, quiet_import

# A small network: what is looked for is in the calls, and grows with their number.
CASE = serving_setup.Case((16, 32, 32), 32, 4)
BATCHES = (1, 3, 16, 64)
MESSAGE_MIB = 1
# The first part of a run is not judged: threads start, each with a heap of its own, and graphs are compiled.
WARM_UP_SHARE = 1 / 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """What was seen at one time.

    Attributes:
        seconds: since the load began.
        resident_mb: memory of the server's process in MiB.
        files: that it had open, connections included.
        requests: answered or refused until then, as they must be.
        errors: other outcomes until then.
    """

    seconds: float
    resident_mb: float
    files: int
    requests: int
    errors: int


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_float("seconds", 600.0, "How long.", lower_bound=3, flag_values=values)
    flags.DEFINE_integer("callers", 4, "Clients at once.", lower_bound=1, flag_values=values)
    flags.DEFINE_float("most_growth_mb", 16.0, "Exit code 1 if memory grew by more than this.", flag_values=values)
    flags.DEFINE_string("output", None, "Also write what was measured here, as JSON.", flag_values=values)


class Callers:
    """Clients that call a server until told to stop; `requests` and `errors` tell how it went so far."""

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
        for _, check in refusals(server):
            check()
            count(2)
            if self._over.is_set():
                return


def soak(seconds: float, callers: int) -> tuple[list[Sample], list[str]]:
    """Loads a server for so long; returns what was seen each second, and the errors.

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
    """MiB by which memory grew after the warm-up: a straight line through the medians of two halves, to the end.

    Medians, since a large message or a garbage collection shows in single samples.
    """
    judged = [one for one in samples if one.seconds >= samples[-1].seconds * WARM_UP_SHARE]
    middle = len(judged) // 2
    before, after = (statistics.median(one.resident_mb for one in half) for half in (judged[:middle], judged[middle:]))
    # From one half's middle to the other's is half of the time.
    return 2 * (after - before)


def table(samples: Sequence[Sample]) -> str:
    """A row a minute."""
    rows = ["| minute | resident MB | open files | requests | errors |", "|---|---|---|---|---|"]
    minutes: dict[int, list[Sample]] = {}
    for one in samples:
        minutes.setdefault(int(one.seconds // 60) + 1, []).append(one)
    for minute, found in minutes.items():
        held, files = (statistics.median(getattr(one, name) for one in found) for name in ("resident_mb", "files"))
        rows.append(f"| {minute} | {held:.0f} | {files:.0f} | {found[-1].requests} | {found[-1].errors} |")
    return "\n".join(rows)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    quiet_import.tensorflow()
    samples, errors = soak(values.seconds, values.callers)
    grown = growth(samples)
    print(table(samples))
    print(f"\nafter the first third, memory grew by {grown:.1f} MB; {len(errors)} errors")
    for error in errors[:10]:
        print(f"  {error}")
    if values.output:
        seen = [dataclasses.asdict(one) for one in samples]
        atomic_files.write_json(values.output, {"growth_mb": grown, "errors": errors, "samples": seen})
    if errors or grown > values.most_growth_mb:
        sys.exit(1)


if __name__ == "__main__":
    commandline.run("benchmarks.serving_soak")
