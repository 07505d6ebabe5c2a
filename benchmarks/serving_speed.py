"""Whole volumes over gRPC beside the same model called in this process, and by how many clients at once.

    python -m benchmarks.serving_speed
    python -m benchmarks.serving_speed --models=DIR --addresses="Ray Serve=127.0.0.1:9000"     # others, that serve DIR

Networks of random weights are published, and served by the embedded server in a process of its own over loopback. A
volume in native units goes in, probabilities on its own grid come out, everything that the client does included. All
take turns, a volume each in a round, the order turning; a ratio is that of one round, and the median counts. Each
process loads a model once, and has answered before it is timed.
"""

from __future__ import annotations

import contextlib
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

from absl import flags

from benchmarks import serving_setup
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, cpu, quiet_import

CASES = {"small": serving_setup.SMALL, "cube": serving_setup.CUBE, "whole": serving_setup.WHOLE}
HERE = "in process"


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_list("cases", list(CASES), "Sizes of volume and network.", flag_values=values)
    flags.DEFINE_list("rounds", ["60", "15", "5"], "Rounds of each size.", flag_values=values)
    flags.DEFINE_list("clients", ["1", "4", "16"], "Clients at once, on the first size.", flag_values=values)
    flags.DEFINE_float("seconds", 4.0, "Of a round with so many clients.", lower_bound=0.1, flag_values=values)
    flags.DEFINE_integer("client_rounds", 3, "Rounds of each number of clients.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("batch_size", 16, "Slices a call.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("models", None, "Keep the models here; used again if there.", flag_values=values)
    flags.DEFINE_list("addresses", [], "LABEL=HOST:PORT of further servers of --models.", flag_values=values)
    flags.DEFINE_string("output", None, "Also write what was measured here, as JSON.", flag_values=values)


def line(*cells) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def ms(seconds: list[float], share: float) -> str:
    """A percentile in milliseconds."""
    return f"{1000 * serving_setup.percentile(seconds, share):.0f}"


def in_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each in each round. The order turns, so that nobody always runs behind the same one."""
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
    """So many clients, each with a connection and a thread of its own, segment volume after volume.

    Returns:
        ``volumes``, ``elapsed_s`` until the last was done, ``seconds`` of each volume, ``errors`` of those not done.
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


def crowds(case: serving_setup.Case, folder, servers: Mapping[str, str], values: flags.FlagValues) -> dict:
    """Times several clients at once; prints the rows."""
    import semicml_tf
    from semicml_tf.serving.client.remote_model import RemoteModel

    here = semicml_tf.load(folder)
    settings = {(HERE, 1): lambda: contextlib.nullcontext(here)}
    for label, address in servers.items():
        for clients in map(int, values.clients):
            settings[label, clients] = lambda address=address: RemoteModel(address, case.model, here.manifest)
    found = {key: {"elapsed_s": 0.0, "seconds": [], "errors": []} for key in settings}
    for _ in range(values.client_rounds):
        for key, make in settings.items():
            for name, value in crowd(case, make, key[1], values.seconds, values.batch_size).items():
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


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if len(values.cases) != len(values.rounds) or not set(values.cases) <= set(CASES):
        raise UserError(f"expected cases of {', '.join(CASES)}, and rounds for each", remedy="Correct the flags")
    further = dict(one.split("=", 1) for one in values.addresses if "=" in one)
    if len(further) != len(values.addresses) or (further and not values.models):
        raise UserError(f"expected LABEL=HOST:PORT, and --models, got {values.addresses}", remedy="See --help")
    quiet_import.tensorflow()
    cases = [CASES[name] for name in values.cases]
    with tempfile.TemporaryDirectory() as name:
        models = pathlib.Path(values.models or name) / "models"
        folders = {case: serving_setup.published(case, models) for case in cases}
        with serving_setup.serving(models, log=pathlib.Path(name) / "server.log") as (_, address):
            servers = {"embedded server": address, **further}
            print(f"{cpu.described()}, {values.batch_size} slices a call\n")
            print("| volume | way | p50, ms | p99, ms | volumes/s | relative to in process | rounds |")
            print("|---|---|---|---|---|---|---|", flush=True)
            measured = {
                case.title: overhead(case, folders[case], servers, int(rounds), values.batch_size)
                for case, rounds in zip(cases, values.rounds)
            }
            print(
                f"\n{cases[0].title}\n\n| way | clients | volumes/s | relative | p50, ms | p99, ms | volumes | errors |"
            )
            print("|---|---|---|---|---|---|---|---|", flush=True)
            many = crowds(cases[0], folders[cases[0]], servers, values)
    if values.output:
        atomic_files.write_json(values.output, {"processor": cpu.processor(), "overhead": measured, "clients": many})


if __name__ == "__main__":
    commandline.run("benchmarks.serving_speed")
