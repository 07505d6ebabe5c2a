"""Which calls are worked on: so many at once, so many waiting, and the rest told so at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any

from serving.answers import Refused


class Admission:
    """Runs calls in threads. To be used from one event loop alone.

    Args:
        workers: calls worked on at once.
        waiting: calls that may wait for a worker.
    """

    def __init__(self, workers: int, waiting: int):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="call")
        self._most = workers + waiting
        self._held = 0

    async def run(self, function: Callable, *arguments) -> Any:
        """What `function` returns; it begins when a worker is free.

        Raises:
            Refused: as many calls as may wait do so already.
        """
        if self._held >= self._most:
            raise Refused("RESOURCE_EXHAUSTED", f"{self._held} calls are being worked on or waiting; try again later")
        self._held += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function, *arguments)
        # Not when the caller leaves: a call that has begun holds its worker to the end, wanted or not.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        return await asyncio.wrap_future(future)

    def _release(self) -> None:
        self._held -= 1

    def close(self) -> None:
        """Waits for the calls that are worked on."""
        self._pool.shutdown(wait=True, cancel_futures=True)
