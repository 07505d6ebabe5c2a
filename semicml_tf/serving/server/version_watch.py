"""Keeps a `ModelStore` as the folders say: new versions are loaded, and those not wanted any more let go."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import threading
import time
from collections.abc import Callable, Sequence

from semicml_tf.artefact.versions import versions
from semicml_tf.errors import UserError, first_line
from semicml_tf.exporting import warmup_requests
from semicml_tf.serving.server import handlers
from semicml_tf.serving.server.model_config import ModelConfig
from semicml_tf.serving.server.model_store import ModelStore, State, Version
from semicml_tf.serving.server.served_model import PROTO, ServedModel

_LOG = logging.getLogger(__name__)


# As of TensorFlow Serving: memory may have been short, or a volume not there.
RETRIES, RETRY_S = 5, 60.0
# TensorFlow Serving replays no more.
MOST_WARMUP_REQUESTS = 1000
# What GetModelStatus says of a version that is damaged, or whose warm-up requests fail.
NOT_LOADED = "the version cannot be loaded; see the server's log"


@dataclasses.dataclass
class _Failure:
    files: frozenset  # as they were
    times: int
    when: float  # monotonic, in seconds


def _as_they_are(folder: pathlib.Path) -> frozenset:
    """Every file below a folder with its size and its last change; that of contents may be older than the copy."""
    found = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return frozenset((path, stat.st_size, stat.st_ctime_ns) for path, stat in found)


class VersionWatch:
    """Looks into the models' folders, once or again and again.

    A version is announced once it is loaded and its warm-up requests are answered; only then are older ones let go. One
    that fails is tried again when its files change, and up to `RETRIES` times `RETRY_S` apart as they are; what was
    served is served on. So is the last version of a model whose folder is emptied or gone.

    Args:
        store: to keep.
        models: tells what is to be served, at each look.
    """

    def __init__(self, store: ModelStore, models: Callable[[], Sequence[ModelConfig]]):
        self._store, self._models = store, models
        self._failed: dict[tuple[str, int], _Failure] = {}
        self._told: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Brings the store up to what the folders hold now.

        Raises:
            UserError: what is to be served cannot be told.
        """
        for model in self._models():
            try:
                self._update(model)
            except Exception:  # what befalls one model holds up no other
                _LOG.exception("the folder of model '%s' could not be looked at", model.name)

    def start(self, seconds: float) -> None:
        """Looks every so many seconds from now on, in a thread of its own, until `stop`."""

        def run():
            while not self._stop.wait(seconds):
                try:
                    self.look()
                except Exception:  # whatever befalls the folders, what is served goes on
                    _LOG.exception("the models' folders could not be looked at")

        self._thread = threading.Thread(target=run, name="version-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking; waits for a version that is being loaded."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _update(self, model: ModelConfig) -> None:
        try:
            present = versions(model.base_path) if model.base_path.is_dir() else {}
        except OSError as error:
            self._say_once(f"{model.base_path}: cannot be read ({error.strerror})")
            return
        complete = {number: path for number, path in present.items() if (path / PROTO).is_file()}
        for number in present.keys() - complete.keys():
            self._say_once(f"{present[number]}: passed over, it has no {PROTO} (half copied?)")
        serving = set(self._store.names().get(model.name, ()))
        candidates = dict(complete)
        while True:
            wanted = model.wanted(candidates)
            missing = [number for number in wanted if number not in serving]
            failed = [number for number in missing if not self._load(model.name, number, complete[number])]
            if not failed:
                break
            # The next best version in place of one that cannot be opened.
            for number in failed:
                del candidates[number]
            serving = set(self._store.names().get(model.name, ()))
        self._store.label(model.name, model.labels)
        if not wanted:
            if serving and not complete:
                self._say_once(f"{model.base_path}: holds no version any more; {sorted(serving)} are served on")
            elif not present:
                self._say_once(f"{model.base_path}: model '{model.name}' is not served, there is no version of it")
            return
        for number in serving - set(wanted):
            # Calls that hold it go on; its memory goes with the last of them.
            self._store.put(model.name, number, Version(State.END))
            _LOG.info("%s version %d is not served any more", model.name, number)

    def _load(self, name: str, number: int, folder: pathlib.Path) -> bool:
        try:
            files = _as_they_are(folder)
        except OSError:  # it is being removed or replaced: the next look will tell
            return False
        failure = self._failed.get((name, number))
        if failure is None or failure.files != files:
            failure = _Failure(files, 0, 0.0)
        elif failure.times > RETRIES or time.monotonic() - failure.when < RETRY_S:
            return False
        self._store.put(name, number, Version(State.LOADING))
        try:
            model = ServedModel.open(name, number, folder)
            replayed = replay_warmup(model, folder)
        except UserError as error:
            self._failed[name, number] = _Failure(files, failure.times + 1, time.monotonic())
            # Callers learn neither paths nor reasons: the log has them.
            self._store.put(name, number, Version(State.END, error=NOT_LOADED))
            _LOG.error("%s version %d is not served: %s", name, number, error.line)
            return False
        self._failed.pop((name, number), None)
        self._store.put(name, number, Version(State.AVAILABLE, model))
        _LOG.info("%s version %d is served, after %d warm-up requests", name, number, replayed)
        return True

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            _LOG.warning(text)


def replay_warmup(model: ServedModel, folder: pathlib.Path) -> int:
    """Answers a model's recorded requests, so that its first real request finds everything compiled.

    Returns:
        The number of requests.

    Raises:
        UserError: a request cannot be read or answered. The model's files are not as published.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / warmup_requests.RELATIVE_PATH
    if not path.is_file():
        return 0
    count = 0
    try:
        for count, record in enumerate(tf.data.TFRecordDataset(str(path)).take(MOST_WARMUP_REQUESTS + 1), start=1):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            if count > MOST_WARMUP_REQUESTS or log.WhichOneof("log_type") != "predict_log":
                raise ValueError(
                    f"expected at most {MOST_WARMUP_REQUESTS} Predict requests, got {log.WhichOneof('log_type')}"
                )
            request = log.predict_log.request
            for tensor in request.inputs.values():
                # In this file, a missing value equals the last given value. Clients must send all values.
                tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(tensor)))
            handlers.predict_with(model, request)
    except (handlers.Refused, DecodeError, MemoryError, TypeError, ValueError, tf.errors.OpError) as error:
        reason = first_line(error)[:200]
        raise UserError(
            f"warm-up request {max(count, 1)} failed ({reason})",
            path=path,
            remedy="Export the run again",
        ) from error
    return count
