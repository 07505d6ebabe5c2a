"""How long a command takes to answer and to begin, and what replicas and workers bring on one machine.

    python -m benchmarks.start_and_scale

Trains a converted phantom on one device, on two logical ones, and in two processes on loopback. They share the same
cores, so that what is measured is what sharing costs, not what more hardware would bring.
"""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from absl import flags

from benchmarks.input_speed import dataset
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

HELP = ("convert", "train", "evaluate", "export", "predict")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_integer("rounds", 3, "Rounds; the median counts.", lower_bound=1, flag_values=values)


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for held in sockets:
        held.bind(("127.0.0.1", 0))
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def _watch(stream, begin: float, found: list[float]) -> None:
    """Reads a training's progress to its end; puts down when its first step was done."""
    text = b""
    while piece := stream.read1(4096):
        text = text[-200:] + piece
        if not found and re.search(rb"\b1/\d+ steps", text):
            found.append(time.perf_counter() - begin)


def train(data: pathlib.Path, devices: str, workers: int, *arguments: str) -> tuple[float, float]:
    """Trains 3 epochs; slices a second in the last, and seconds from the command's start to its first step's end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "semicml_tf.train", f"--dataset={data}", f"--output={folder}/run"]
        command += ["--method=semi_cml", "--epochs=3", "--steps_per_epoch=25", f"--devices={devices}"]
        command += ["--burn_in=0", "--window=48", "--width=8", "--picture_every=100", *arguments]
        hosts = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        processes, watchers, first = [], [], []
        begin = time.perf_counter()
        for index in range(workers):
            config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment = os.environ | ({"TF_CONFIG": json.dumps(config)} if workers > 1 else {})
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            watchers.append(threading.Thread(target=_watch, args=(process.stderr, begin, first)))
            watchers[-1].start()
            processes.append(process)
        for watcher in watchers:
            watcher.join()
        if any(process.wait() for process in processes):
            raise UserError(f"a training failed: {' '.join(command)}", remedy="Run this line to see why")
        with open(pathlib.Path(folder, "run", "history.csv"), encoding="utf-8") as stream:
            return float(list(csv.DictReader(stream))[-1]["slices_per_second"]), first[0]


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    print(f"{cpu.described()}\n")
    print("| command | seconds |\n|---|---|")
    for name in HELP:
        command = [sys.executable, "-m", f"semicml_tf.{name}", "--help"]
        print(f"| `{name} --help` | {statistics.median(_seconds(command) for _ in range(values.rounds)):.2f} |")
    own = "--nosynchronized_statistics"
    ways = {
        "one device": ("cpu:0", 1),
        "two logical devices": ("cpu:0,cpu:1", 1),
        "two logical devices, statistics of each one": ("cpu:0,cpu:1", 1, own),
        "two workers": ("cpu:0", 2),
        "two workers, statistics of each one": ("cpu:0", 2, own),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(pathlib.Path(folder), 10)
        for _ in range(values.rounds):
            for name, way in ways.items():
                found[name].append(train(data, *way))
                speed, first = found[name][-1]
                # Minutes a round: what is there is told, should it be ended.
                print(f"{name}: {speed:.0f} slices/s, first step after {first:.0f} s", file=sys.stderr, flush=True)
    print("\n| trained on | slices/s | relative to one device | seconds to its first step's end |\n|---|---|---|---|")
    for name, rounds in found.items():
        ratio = statistics.median(one[0] / base[0] for one, base in zip(rounds, found["one device"]))
        speed, first = (statistics.median(values) for values in zip(*rounds))
        print(f"| {name} | {speed:.0f} | {ratio:.2f} | {first:.0f} |")


if __name__ == "__main__":
    commandline.run("benchmarks.start_and_scale")
