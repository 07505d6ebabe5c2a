"""A model behind gRPC, used as one in this process: the same volumes in, the same masks out."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from semicml_tf.artefact.manifest import (
    INPUT_NAME,
    MANIFEST,
    MANIFEST_NAME,
    MONTE_CARLO,
    OUTPUT_NAME,
    PROBABILITIES,
    PROBABILITIES_DTYPES,
    QUERIES_NAME,
    SEEDS_NAME,
    Manifest,
)
from semicml_tf.errors import UserError
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.inference.volume import Segmenter
from semicml_tf.serving.client.predict_calls import PredictCalls
from semicml_tf.serving.client.remote_failure import RemoteFailure, VersionGone

Item, Result = TypeVar("Item"), TypeVar("Result")
# Size of a request without its slices: names, shapes, the model's name.
_HEADER_BYTES = 4096
_EXPORT_AGAIN = "Export the run again with python -m semicml_tf.export, or name its manifest.json: --manifest=FILE"


def read_manifest(calls: PredictCalls, version: int | None = None) -> tuple[Manifest, int | None]:
    """The manifest of a served model, by its signature `manifest`, and the version that it is of.

    Args:
        version: of the model; None means the server's latest.

    Raises:
        RemoteFailure: the server cannot be reached, has no such model, or one that does not tell its manifest.
        UserError: the manifest is of another contract version.
    """
    try:
        found, answered = calls.ask(
            MANIFEST, {QUERIES_NAME: np.zeros(1, np.int32)}, MANIFEST_NAME, version, dtypes=("string",), shape=(1,)
        )
    except RemoteFailure as error:
        if error.status in ("FAILED_PRECONDITION", "INVALID_ARGUMENT"):
            raise RemoteFailure(
                f"the model '{calls.name}' at {calls.address} does not tell its manifest ({error.problem})",
                remedy=_EXPORT_AGAIN,
                status=error.status,
                model=calls.name,
            ) from error
        raise
    where = f"{calls.address}/{calls.name}"
    return Manifest.from_json(found[0], where), answered if version is None else version


class RemoteModel(Segmenter):
    """A model on any server that speaks TensorFlow Serving's PredictionService. Close it, or use it in ``with``.

    One version of it answers a volume: that of the manifest, or that which answered first. Takes one volume at a time:
    each thread opens one of its own.

    Args:
        address: ``host:port``.
        name: the server's name of the model.
        manifest: of that model; says how to resample and normalise. None: the server is asked for it.
        version: of the model; None means the server's latest.
        parallel: batches under way at once.
        max_message_mib: of a request, and of the probabilities of its answer. A larger batch is sent in several
            requests, as if the batch size were smaller.
        connection: `deadline_s`, `retries`, `backoff_s`, `credentials`, as of `PredictCalls`.

    Raises:
        RemoteFailure: the server was asked for the manifest and cannot be reached, or has none.
        UserError: not even a single slice fits into a message, or the manifest is of another contract version.
    """

    def __init__(
        self,
        address: str,
        name: str,
        manifest: Manifest | None = None,
        *,
        version: int | None = None,
        parallel: int = 4,
        max_message_mib: float = 64.0,
        **connection,
    ):
        self.address, self.name, self.version = address, name, version
        self.parallel, self.max_message_mib = parallel, max_message_mib
        # A version that nobody asked for may be followed by the next one.
        self._follows, self._asks_manifest = version is None, manifest is None
        self._pinning = threading.Lock()
        # `slices_a_message` is such that neither the slices nor their probabilities take more.
        self._calls = PredictCalls(address, name, max_answer_bytes=int(max_message_mib * 2**20), **connection)
        try:
            if manifest is None:
                manifest, self.version = read_manifest(self._calls, version)
            super().__init__(manifest)
            self._check_limit()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._calls.close()

    def refresh(self) -> None:
        """Takes the server's latest version and its manifest from now on; raises as the constructor.

        A model that was opened with a version or a manifest stays what it was.
        """
        if self._follows and self._asks_manifest:
            self.manifest, self.version = read_manifest(self._calls)
            self._check_limit()

    def origins(self) -> list[dict]:
        where = f"{self.address}/{self.name}"
        return [{"model": where, "version": self.version, "run_hash": self.manifest.run_hash}]

    @property
    def slices_a_message(self) -> int:
        """How many slices a request holds at most."""
        room = int(self.max_message_mib * 2**20) - _HEADER_BYTES
        return max(0, room // self._slice_bytes)

    @property
    def _slice_bytes(self) -> int:
        """Of a slice with its seed, or of its probabilities if they are more; float32."""
        patch = self.manifest.patch
        return 4 * max(self.manifest.classes, patch.channels) * math.prod(patch.spatial) + 4

    def _check_limit(self) -> None:
        if not self.slices_a_message:
            patch, classes = self.manifest.patch, self.manifest.classes
            what = "" if classes == 1 else f" and {classes} classes"
            size = " x ".join(map(str, patch.spatial))
            if patch.channels > 1:
                size += f" x {patch.channels}"
            raise UserError(
                f"one slice or patch of {size} pixels{what} takes {self._slice_bytes / 2**20:.3g} MiB, more than "
                f"--max_message_mib={self.max_message_mib:g}",
                remedy="Raise --max_message_mib",
            )

    def each(self, function: Callable, items: Iterable) -> Iterator:
        return in_order(function, items, self.parallel)

    def slices(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities of a batch of slices.

        Raises:
            RemoteFailure: the server cannot be reached, has no such model, or answers otherwise than the manifest says.
        """
        return self._in_messages(PROBABILITIES, {INPUT_NAME: np.ascontiguousarray(batch, np.float32)})

    def check_dropout(self) -> None:
        if not self.manifest.monte_carlo:
            super().check_dropout()

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """As `slices`, with dropout drawn from the seeds (batch,) int32; raises also where the model has none."""
        self.check_dropout()
        images = np.ascontiguousarray(batch, np.float32)
        return self._in_messages(MONTE_CARLO, {INPUT_NAME: images, SEEDS_NAME: np.asarray(seeds, np.int32)})

    def probabilities(self, array: np.ndarray, affine: np.ndarray, *, batch_size: int = BATCH_SIZE) -> np.ndarray:
        """As `Segmenter.probabilities`. Should the model be replaced meanwhile, once more by the new version."""
        try:
            return super().probabilities(array, affine, batch_size=batch_size)
        except VersionGone:
            if not (self._follows and self._asks_manifest):
                raise
            self.refresh()
            return super().probabilities(array, affine, batch_size=batch_size)

    def _in_messages(self, signature: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        count, most = len(inputs[INPUT_NAME]), self.slices_a_message
        if count <= most:
            return self._ask(signature, inputs)
        parts = -(-count // most)
        # Alike, to one slice: each size is compiled once on some servers, and padded to a few on others.
        cut = {name: np.array_split(values, parts) for name, values in inputs.items()}
        return np.concatenate(
            [self._ask(signature, {name: of[part] for name, of in cut.items()}) for part in range(parts)]
        )

    def _ask(self, signature: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        asked = self.version
        try:
            found, answered = self._calls.ask(
                signature,
                inputs,
                OUTPUT_NAME,
                asked,
                dtypes=PROBABILITIES_DTYPES,
                shape=(*inputs[INPUT_NAME].shape[:-1], self.manifest.classes),
            )
        except RemoteFailure as error:
            if error.status == "NOT_FOUND" and self._follows and asked is not None:
                raise self._gone(asked, error.problem) from error
            raise
        self._pin(answered)
        return found.astype(np.float32, copy=False)

    def _pin(self, answered: int | None) -> None:
        """Holds on to the version that answered first; some servers do not tell which did."""
        if answered is None:
            return
        with self._pinning:
            if self.version is None:
                self.version = answered
        if answered != self.version:
            raise self._gone(self.version, f"version {answered} answered in its place")

    def _gone(self, version: int, why: str) -> VersionGone:
        return VersionGone(
            f"version {version} of model '{self.name}' at {self.address} was replaced while it was in use ({why})",
            remedy="Start again: the new version will answer",
            status="NOT_FOUND",
            model=self.name,
        )


def in_order(function: Callable[[Item], Result], items: Iterable[Item], parallel: int) -> Iterator[Result]:
    """Like the built-in `map`, with several simultaneous calls. Results have the order of the items.

    Args:
        function: called in threads.
        items: read in this thread, as soon as a call can start.
        parallel: largest number of simultaneous calls, and of results in memory.

    Raises:
        Exception: the error of a call. No further calls start, and running calls are not waited for.
    """
    pool = concurrent.futures.ThreadPoolExecutor(parallel, thread_name_prefix="ask")
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    left = iter(items)
    try:
        while True:
            for item in itertools.islice(left, parallel - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
