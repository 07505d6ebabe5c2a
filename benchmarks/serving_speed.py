"""Speed of segmenting whole volumes over gRPC, beside the same model in this process, with one and several clients.

    python -m benchmarks.serving_speed
    python -m benchmarks.serving_speed --models=DIR --addresses="Ray Serve=127.0.0.1:9000"     # others, that serve DIR

The command publishes networks with random weights. The embedded server serves them in a separate process over loopback.
A call takes a volume in native units and gives probabilities on the volume's grid. It includes all work of the client.
In a round, each way segments one volume, in changing order. Each ratio compares two ways in one round; the table shows
the median. Every process loads a model once, and answers a request before the timing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from benchmarks import serving_setup
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, cpu, quiet_import

CASES = {"small": serving_setup.SMALL, "cube": serving_setup.CUBE, "whole": serving_setup.WHOLE}
HERE = "in process"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingSpeedConfig:
    """Options of `benchmarks.serving_speed`."""

    cases: tuple[str, ...] = option(tuple(CASES), "Sizes of volume and network.")
    rounds: tuple[int, ...] = option((60, 15, 5), "Rounds of each size.", low=1)
    clients: tuple[int, ...] = option((1, 4, 16), "Numbers of simultaneous clients, on the first size.", low=1)
    seconds: float = option(4.0, "Duration in seconds of a round with several clients.", low=0.1)
    client_rounds: int = option(3, "Rounds of each number of clients.", low=1)
    batch_size: int = option(16, "Slices per call.", low=1)
    models: str | None = option(None, "Folder to keep the models in. Models in it are used again.", path=True)
    addresses: tuple[str, ...] = option((), "LABEL=HOST:PORT of each further server of --models.")
    output: str | None = option(None, "JSON file for the measurements.", path=True)

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        if not self.cases or not set(self.cases) <= set(CASES):
            yield f"expected --cases out of {', '.join(CASES)}, got '{','.join(self.cases)}'", ""
        if len(self.cases) != len(self.rounds):
            yield f"expected --rounds for each of {len(self.cases)} --cases, got {len(self.rounds)} numbers", ""
        if any("=" not in address for address in self.addresses):
            yield f"expected --addresses as LABEL=HOST:PORT, got '{','.join(self.addresses)}'", ""
        if self.addresses and not self.models:
            yield "expected --models beside --addresses", "Pass the folder of the models that the servers load"

    @property
    def servers(self) -> dict[str, str]:
        """The addresses of the further servers, by label."""
        return dict(address.split("=", 1) for address in self.addresses)


CONFIG = ServingSpeedConfig


def line(*cells) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def ms(seconds: list[float], share: float) -> str:
    """A percentile in milliseconds."""
    return f"{1000 * serving_setup.percentile(seconds, share):.0f}"


def in_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round. The order rotates, so that each contestant follows different ones."""
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            begin = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def overhead(case: serving_setup.Case, folder, servers: Mapping[str, str], rounds: int, batch_size: int) -> dict:
    """Times one volume in process and over gRPC; prints the rows."""
    import semicml_tf
    from semicml_tf.serving.client.remote_model import RemoteModel

    here = semicml_tf.load(folder)
    array, affine = serving_setup.volume(case)
    with contextlib.ExitStack() as stack:
        models = {HERE: here}
        for label, address in servers.items():
            for title, parallel in (("one batch after the other", 1), ("4 batches under way", 4)):
                model = RemoteModel(address, case.model, here.manifest, parallel=parallel)
                models[f"{label}, {title}"] = stack.enter_context(model)
        contestants = {
            name: lambda model=model: model.probabilities(array, affine, batch_size=batch_size)
            for name, model in models.items()
        }
        seconds = in_turns(contestants, rounds)
    for name, found in seconds.items():
        ratio = statistics.median(there / here for there, here in zip(found, seconds[HERE]))
        rate = 1 / statistics.median(found)
        print(line(case.title, name, ms(found, 50), ms(found, 99), f"{rate:.3g}", f"{ratio:.2f}", rounds), flush=True)
    return seconds


def crowd(case: serving_setup.Case, make: Callable, clients: int, seconds: float, batch_size: int) -> dict:
    """Several clients, each with its own connection and thread, segment volumes for `seconds`.

    Returns:
        ``elapsed_s`` until the last volume is finished, ``seconds`` of each volume, and ``errors`` of failed volumes.
    """
    array, affine = serving_setup.volume(case)
    found: list[float] = []
    errors: list[str] = []
    begun = threading.Barrier(clients + 1)

    def work():
        with make() as model:
            begun.wait()
            while time.perf_counter() < end[0]:
                start = time.perf_counter()
                try:
                    model.probabilities(array, affine, batch_size=batch_size)
                except UserError as error:
                    errors.append(error.line)
                else:
                    found.append(time.perf_counter() - start)

    end = [float("inf")]
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begun.wait()
    start = time.perf_counter()
    end[0] = start + seconds
    for thread in threads:
        thread.join()
    return {"elapsed_s": time.perf_counter() - start, "seconds": found, "errors": errors}


def crowds(case: serving_setup.Case, folder, servers: Mapping[str, str], config: ServingSpeedConfig) -> dict:
    """Times several simultaneous clients; prints the rows."""
    import semicml_tf
    from semicml_tf.serving.client.remote_model import RemoteModel

    here = semicml_tf.load(folder)
    settings = {(HERE, 1): lambda: contextlib.nullcontext(here)}
    for label, address in servers.items():
        for clients in config.clients:
            settings[label, clients] = lambda address=address: RemoteModel(address, case.model, here.manifest)
    found = {key: {"elapsed_s": 0.0, "seconds": [], "errors": []} for key in settings}
    for _ in range(config.client_rounds):
        for key, make in settings.items():
            for name, value in crowd(case, make, key[1], config.seconds, config.batch_size).items():
                found[key][name] += value
    rates = {key: len(one["seconds"]) / one["elapsed_s"] for key, one in found.items()}
    for key, one in found.items():
        done = one["seconds"] or [float("nan")]
        print(
            line(
                *(key[0], key[1], f"{rates[key]:.2f}", f"{rates[key] / rates[HERE, 1]:.2f}"),
                *(ms(done, 50), ms(done, 99), len(one["seconds"]), len(one["errors"])),
            ),
            flush=True,
        )
    return {f"{label}, {clients}": one for (label, clients), one in found.items()}


def main(config: ServingSpeedConfig) -> None:
    """Measures and prints both tables."""
    quiet_import.tensorflow()
    cases = [CASES[name] for name in config.cases]
    with tempfile.TemporaryDirectory() as name:
        models = pathlib.Path(config.models or name) / "models"
        folders = {case: serving_setup.published(case, models) for case in cases}
        with serving_setup.serving(models, log=pathlib.Path(name) / "server.log") as (_, address):
            servers = {"embedded server": address, **config.servers}
            print(f"{cpu.described()}, {config.batch_size} slices a call\n")
            print("| volume | way | p50, ms | p99, ms | volumes/s | relative to in process | rounds |")
            print("|---|---|---|---|---|---|---|", flush=True)
            measured = {
                case.title: overhead(case, folders[case], servers, rounds, config.batch_size)
                for case, rounds in zip(cases, config.rounds)
            }
            print(
                f"\n{cases[0].title}\n\n| way | clients | volumes/s | relative | p50, ms | p99, ms | volumes | errors |"
            )
            print("|---|---|---|---|---|---|---|---|", flush=True)
            many = crowds(cases[0], folders[cases[0]], servers, config)
    if config.output:
        atomic_files.write_json(config.output, {"processor": cpu.processor(), "overhead": measured, "clients": many})


if __name__ == "__main__":
    commandline.run("benchmarks.serving_speed")
