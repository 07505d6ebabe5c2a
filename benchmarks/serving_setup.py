"""Shared parts of the serving benchmarks: models with random weights, volumes, and a server in a separate process."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Case:
    """A size of volume and network.

    Attributes:
        shape: slices, rows and columns of the volume. Each slice is one window.
        window: side of the network's slices.
        width: channels of the network's first level.
    """

    shape: tuple[int, int, int]
    window: int
    width: int

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return f"w{self.width}x{self.window}"

    @property
    def title(self) -> str:
        """The size in words."""
        return f"{' x '.join(map(str, self.shape))}, width {self.width}"


# The demo's size, with the highest relative cost of a call; a cube; an uncropped BraTS volume.
SMALL = Case((60, 48, 48), 48, 8)
CUBE = Case((128, 128, 128), 128, 16)
WHOLE = Case((155, 240, 240), 240, 16)


def published(case: Case, models: pathlib.Path, dtype: str = "float32") -> pathlib.Path:
    """The version folder of a CT model with random weights, on the volume's own grid. It is made if it is missing.

    Args:
        case: size of the network.
        models: folder of all models.
        dtype: type of the model's probabilities.
    """
    folder = models / case.model
    if (folder / "1" / "saved_model.pb").is_file():
        return folder / "1"
    from semicml_tf.artefact.manifest import Manifest
    from semicml_tf.exporting.publish import publish
    from semicml_tf.labels import LESION, PLAIN
    from semicml_tf.networks import catalogue
    from semicml_tf.preprocessing.normalisation import Normalisation

    how = Normalisation.parse("hu:-200:300")
    manifest = Manifest(
        "ct", (0.0, 0.0, 0.0), how, case.window, PLAIN, {LESION: 0.5}, "", "", None, "0", probabilities_dtype=dtype
    )
    spec = catalogue.specification("unet", window=case.window, width=case.width)
    return publish(catalogue.build(spec, name="ct"), manifest, folder).folder


def volume(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A CT of noise, (i, j, k) int16 in HU with slices along k, and its affine."""
    slices, rows, columns = case.shape
    values = np.random.default_rng(0).integers(-1000, 1000, (columns, rows, slices), np.int16)
    return values, np.eye(4)


def resident_mb(process: int) -> float:
    """Resident memory of a process in MiB."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) / 1024


@contextlib.contextmanager
def serving(models: pathlib.Path, *more: str, log: pathlib.Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The embedded server in a separate process. Yields the process and the address, and ends the process."""
    port_file = log.with_suffix(".port")
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "semicml_tf.serving.server", f"--models={models}", f"--port_file={port_file}"]
    with open(log, "wb") as stream:
        process = subprocess.Popen([*command, "--port=0", *more], stdout=stream, stderr=stream)
    try:
        wait_for(lambda: port_file.exists() or process.poll() is not None, seconds=120)
        if process.poll() is not None:
            raise UserError(f"the server ended: {' '.join(command)}", path=log, remedy="Read its log")
        yield process, f"127.0.0.1:{port_file.read_text().strip()}"
    finally:
        process.terminate()
        process.wait(60)


def wait_for(happened, *, seconds: float) -> None:
    """Returns when `happened()` is true.

    Raises:
        UserError: it is still false after `seconds`.
    """
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise UserError(
                f"the server did not respond within {seconds:g} s", remedy="Try again when the machine is less busy"
            )
        time.sleep(0.05)


def percentile(seconds: Sequence[float], share: float) -> float:
    """The value below which `share` percent of the values lie."""
    return float(np.percentile(np.asarray(seconds), share))
