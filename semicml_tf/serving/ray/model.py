"""A replica of one model on Ray Serve: the versions that the embedded server would serve, with calls batched by Ray."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import threading
from collections.abc import Callable

import numpy as np
from ray import serve

from semicml_tf.errors import UserError
from semicml_tf.serving.ray.router import NODE_KEY, REPLICA_KEY
from semicml_tf.serving.ray.settings import RaySettings
from semicml_tf.serving.server import batching, handlers, prediction_service
from semicml_tf.serving.server.batching import Call
from semicml_tf.serving.server.model_config import ModelConfig
from semicml_tf.serving.server.model_store import ModelStore
from semicml_tf.serving.server.served_model import ServedModel
from semicml_tf.serving.server.version_watch import VersionWatch


@dataclasses.dataclass(frozen=True)
class _Batched:
    """A `ServedModel` whose calls go by way of `Replica._run`."""

    model: ServedModel
    run: Callable[[Call], dict[str, np.ndarray]]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def version(self) -> int:
        return self.model.version

    @property
    def signature_defs(self):
        return self.model.signature_defs

    def call(self, signature: str, inputs):
        return self.run(Call(self.model, signature, inputs))


class _BatchedStore:
    """A `ModelStore` as `answers.predict` needs it, whose models batch."""

    def __init__(self, store: ModelStore, run):
        self._store, self._run = store, run

    def get(self, *which):
        return _Batched(self._store.get(*which), self._run)


class Replica:
    """The deployment. Answers are those of `ray_router.Answer`, with what to tell of the replica.

    Args:
        config: the model.
        settings: of the application.
    """

    def __init__(self, config: ModelConfig, settings: RaySettings):
        import ray

        _prepare_tensorflow(settings)
        context = serve.get_replica_context()
        self._told = {REPLICA_KEY: context.replica_id.unique_id, NODE_KEY: ray.get_runtime_context().get_node_id()}
        self._store = ModelStore()
        self._watch = VersionWatch(self._store, lambda: [config])
        self._watch.look()
        if not self._store.names():
            raise UserError(f"no version of '{config.name}' can be served", path=config.base_path)
        self._watch.start(settings.poll_s)
        self._most = settings.max_batch_slices
        if self._most:
            self._join.set_max_batch_size(self._most)
            self._join.set_batch_wait_timeout_s(settings.batch_wait_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        # A call waits in a thread of its own for the batch that it is in; batches are worked on one after another.
        self._calls = concurrent.futures.ThreadPoolExecutor(settings.ongoing, thread_name_prefix="call")
        self._model = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="model")

    async def predict(self, data: bytes):
        self._loop = asyncio.get_running_loop()
        left = threading.Event()
        try:
            return await self._loop.run_in_executor(self._calls, self._predict, data, left)
        finally:  # Ray cancels a call whose caller has left or whose deadline is over
            left.set()

    async def metadata(self, data: bytes):
        from tensorflow_serving.apis import get_model_metadata_pb2

        return self._answer(handlers.metadata, self._store, get_model_metadata_pb2.GetModelMetadataRequest, data)

    async def status(self, data: bytes):
        from tensorflow_serving.apis import get_model_status_pb2

        return self._answer(handlers.status, self._store, get_model_status_pb2.GetModelStatusRequest, data)

    def _predict(self, data: bytes, left: threading.Event):
        from tensorflow_serving.apis import predict_pb2

        def check_wanted():
            if left.is_set():
                raise handlers.Refused("CANCELLED", "the caller has left")

        predict = functools.partial(handlers.predict, check_wanted=check_wanted)
        return self._answer(predict, _BatchedStore(self._store, self._run), predict_pb2.PredictRequest, data)

    def _answer(self, answer, store, kind, data: bytes):
        try:
            found = prediction_service.respond(data, kind, lambda request: answer(store, request))
            return "OK", "", found, self._told
        except handlers.Refused as refused:
            return refused.code, refused.details, b"", {}

    def _run(self, call: Call):
        """Outputs of a call; from a thread of `_calls`."""
        slices = call.slices()
        if slices and slices < self._most:
            found = asyncio.run_coroutine_threadsafe(self._join(call), self._loop).result()
        else:
            found = self._model.submit(call.alone).result()
        if isinstance(found, Exception):
            raise found
        return found

    # Both numbers are set anew by the constructor.
    @serve.batch(
        max_batch_size=32,
        batch_wait_timeout_s=0.005,
        batch_size_fn=lambda calls: sum(call.slices() for call in calls),
    )
    async def _join(self, calls: list[Call]) -> list:
        return await asyncio.get_running_loop().run_in_executor(self._model, batching.answer, calls)

    def __del__(self):
        watch = getattr(self, "_watch", None)
        if watch:
            watch.stop()


def _prepare_tensorflow(settings: RaySettings) -> None:
    import tensorflow as tf

    # Ray reckons with as many; TensorFlow would take all cores in every replica.
    tf.config.threading.set_intra_op_parallelism_threads(max(1, int(settings.cpus)))
    for gpu in tf.config.list_physical_devices("GPU"):
        # Replicas may share one.
        tf.config.experimental.set_memory_growth(gpu, True)
